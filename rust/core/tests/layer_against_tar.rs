//! The same archive unpacked by us and by GNU tar gives the same tree.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat};
use support::{TestStore, assert_same, is_root};

fn tar(arguments: &[&OsStr]) {
    let output = Command::new("tar").args(arguments).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "tar {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Packs `tree` with further options, unpacks it with both, compares.
fn compare(tree: &Path, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive.tar");
    let mut arguments: Vec<&OsStr> = vec!["--numeric-owner".as_ref(), "-cf".as_ref(), archive.as_os_str()];
    arguments.extend(["-C".as_ref(), tree.as_os_str()]);
    arguments.extend(options.iter().map(OsStr::new));
    arguments.push(".".as_ref());
    tar(&arguments);
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let mut arguments: Vec<&OsStr> =
        vec!["--numeric-owner".as_ref(), "--xattrs".as_ref(), "--xattrs-include=*".as_ref()];
    arguments.extend(["-xpf".as_ref(), archive.as_os_str(), "-C".as_ref(), theirs.as_os_str()]);
    tar(&arguments);
    let store = TestStore::new();
    let (_, ours) = store.apply_good(std::fs::read(&archive).unwrap());
    assert_same(&ours, &theirs);
    store.assert_clean();
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// One of everything.
fn make_tree(root: &Path) {
    let write = |name: &str, data: &[u8]| std::fs::write(root.join(name), data).unwrap();
    std::fs::create_dir_all(root.join("a/b/c")).unwrap();
    write("empty", b"");
    write("a/small", b"hello\n");
    write("a/block", &[7; 512]);
    write("a/large", &(0..3_000_001u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let long = format!("a/b/{}", "long-name-".repeat(25));
    write(&long, b"long");
    let deep = format!("a/{}", ["deeper-and-deeper"; 30].join("/"));
    std::fs::create_dir_all(root.join(&deep)).unwrap();
    write(&format!("{deep}/file"), b"deep");
    symlink("../a/small", root.join("a/link")).unwrap();
    symlink("x".repeat(300), root.join("a/long-link")).unwrap();
    symlink("/nowhere", root.join("dangling")).unwrap();
    std::fs::hard_link(root.join("a/small"), root.join("a/b/hard")).unwrap();
    std::fs::hard_link(root.join(&long), root.join("hard-to-long")).unwrap();
    std::fs::hard_link(root.join("dangling"), root.join("hard-to-symlink")).unwrap();
    write("newline\nname", b"n");
    std::fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\xfe")), "u").unwrap();
    write("ümläut", b"u");
    write("old", b"before the epoch");
    set_time(&root.join("old"), -86400, 250_000_000);
    write("future", b"after 2038");
    set_time(&root.join("future"), 5_000_000_000, 1);
    set_time(&root.join("a/link"), 1_234_567, 890);
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("none", 0), ("all", 0o7777), ("read-only", 0o444)] {
        write(name, name.as_bytes());
        std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    for (name, mode) in [("sticky", 0o1777), ("sgid-dir", 0o2775), ("closed", 0o000), ("read-only-dir", 0o555)] {
        std::fs::create_dir_all(root.join(name).join("sub")).unwrap();
        write(&format!("{name}/file"), b"in");
        std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    set_time(&root.join("a/b"), 1_000_000_000, 123_456_789);
    set_time(&root.join("a"), 1_000_000_001, 5);
}

fn make_privileged(root: &Path) {
    let folder = File::open(root).unwrap();
    let node = |name: &str, kind, mode, device| {
        mknodat(folder.as_fd(), name, kind, Mode::from_raw_mode(mode), device).unwrap();
    };
    node("null", FileType::CharacterDevice, 0o666, rustix::fs::makedev(1, 3));
    node("disk", FileType::BlockDevice, 0o660, rustix::fs::makedev(259, 70_000));
    node("fifo", FileType::Fifo, 0o600, 0);
    for (name, uid, gid) in [("suid", 1000, 1001), ("fifo", 5, 6), ("a/link", 70_000, 3), ("sgid-dir/file", 0, 2000)] {
        std::os::unix::fs::lchown(root.join(name), Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(root.join("suid"), PermissionsExt::from_mode(0o6711)).unwrap();
    std::fs::write(root.join("far-owner"), "x").unwrap();
    std::os::unix::fs::lchown(root.join("far-owner"), Some(3_000_000_000), Some(4_294_967_294)).unwrap();
    std::os::unix::fs::lchown(root.join("sgid-dir"), Some(12), Some(2000)).unwrap();
    std::fs::set_permissions(root.join("sgid-dir"), PermissionsExt::from_mode(0o2775)).unwrap();
    let attribute = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    attribute("a/small", "user.note", b"binary\0\n=value");
    attribute("a/b", "user.dir", b"on a directory");
    attribute("a/block", "user.empty", b"");
    // VFS_CAP_REVISION_2, cap_net_raw+ep.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    attribute("all", "security.capability", &capability);
    std::os::unix::fs::lchown(root.join("a/large"), Some(7), Some(8)).unwrap();
    attribute("a/large", "security.capability", &capability);
}

#[test]
fn a_tree_with_one_of_everything() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    make_tree(tree.path());
    make_privileged(tree.path());
    compare(tree.path(), &["--format=pax", "--xattrs", "--xattrs-include=*"]);
    compare(tree.path(), &["--format=gnu"]);
    compare(tree.path(), &["--format=pax", "--pax-option=delete=mtime,delete=atime,delete=ctime"]);
}

#[test]
fn the_older_formats() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("some-directory-of-a-longer-name/".repeat(5))).unwrap();
    std::fs::write(tree.path().join("some-directory-of-a-longer-name/".repeat(5)).join("file"), "x").unwrap();
    std::fs::write(tree.path().join("a"), "x").unwrap();
    symlink("a", tree.path().join("b")).unwrap();
    compare(tree.path(), &["--format=ustar"]);
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tree.path().join("d/e")).unwrap();
    std::fs::write(tree.path().join("d/e/f"), "x").unwrap();
    compare(tree.path(), &["--format=v7"]);
    compare(tree.path(), &["--format=oldgnu"]);
}

#[test]
fn sparse_files_in_every_format() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let sparse = |name: &str, pieces: &[(u64, usize)], size: u64| {
        let mut file = File::create(tree.path().join(name)).unwrap();
        for (offset, length) in pieces {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(&vec![b'x'; *length]).unwrap();
        }
        file.set_len(size).unwrap();
    };
    sparse("hole-only", &[], 1 << 20);
    sparse("hole-at-end", &[(0, 5000)], 1 << 20);
    sparse("hole-at-begin", &[(1 << 20, 100)], (1 << 20) + 100);
    let many: Vec<(u64, usize)> = (0..60).map(|n| (n * 65536 + 4096, 4096 + n as usize)).collect();
    sparse("many-pieces", &many, 60 * 65536);
    sparse(&"long-name-".repeat(15), &[(65536, 10)], 1 << 18);
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        compare(tree.path(), &[format, &["--sparse"]].concat());
    }
}

#[test]
fn a_sparse_file_stays_sparse() {
    use std::os::unix::fs::MetadataExt;
    let tree = tempfile::tempdir().unwrap();
    File::create(tree.path().join("hole")).unwrap().set_len(40 << 20).unwrap();
    let archive = tree.path().join("archive.tar");
    tar(&[
        "--sparse".as_ref(),
        "-cf".as_ref(),
        archive.as_os_str(),
        "-C".as_ref(),
        tree.path().as_os_str(),
        "hole".as_ref(),
    ]);
    let store = TestStore::new();
    let (_, files) = store.apply_good(std::fs::read(&archive).unwrap());
    let metadata = std::fs::metadata(files.join("hole")).unwrap();
    assert_eq!((metadata.len(), metadata.blocks()), (40 << 20, 0));
}

#[test]
fn an_archive_that_names_things_twice() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir(tree.path().join("d")).unwrap();
    std::fs::write(tree.path().join("d/f"), "first").unwrap();
    std::fs::hard_link(tree.path().join("d/f"), tree.path().join("h")).unwrap();
    compare(tree.path(), &["--hard-dereference", "./d", "./d/f", "./h"]);
}
