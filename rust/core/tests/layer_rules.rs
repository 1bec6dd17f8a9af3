//! What archives mean: whiteouts, replacement, links, implied directories, limits.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use ctr_core::ErrorKind;
use ctr_core::layer::{ApplyLimits, LayerStore};
use support::{Archive, Header, TestStore, is_root};

fn is_whiteout(path: &Path) -> bool {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0u8; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value).is_ok_and(|length| &value[..length] == b"y")
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn whiteouts_take_the_form_of_overlayfs() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let archive = Archive::new()
        .directory("d/")
        .file("d/.wh.gone", "")
        .directory("opaque/")
        .file("opaque/kept", "k")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/later", "l")
        .file(".wh.top", "")
        .finish();
    let (_, files) = store.apply_good(archive);
    assert!(is_whiteout(&files.join("d/gone")));
    assert!(is_whiteout(&files.join("top")));
    assert!(is_opaque(&files.join("opaque")) && !is_opaque(&files.join("d")));
    assert_eq!(text(files.join("opaque/kept")) + &text(files.join("opaque/later")), "kl");
    assert_eq!(std::fs::read_dir(files.join("opaque")).unwrap().count(), 2);
}

#[test]
fn a_whiteout_does_not_touch_its_own_layer() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let archive = Archive::new()
        .file("before", "1")
        .file(".wh.before", "")
        .file(".wh.after", "")
        .file("after", "2")
        .directory("dir-before/")
        .file("dir-before/f", "3")
        .file(".wh.dir-before", "")
        .file(".wh.dir-after", "")
        .directory("dir-after/")
        .file("dir-after/f", "4")
        .file(".wh.implied", "")
        .file("implied/f", "5")
        .symlink("link", "x")
        .file(".wh.link", "")
        .finish();
    let (_, files) = store.apply_good(archive);
    assert_eq!(text(files.join("before")) + &text(files.join("after")), "12");
    for (name, content) in [("dir-before", "3"), ("dir-after", "4"), ("implied", "5")] {
        assert!(is_opaque(&files.join(name)), "{name}");
        assert_eq!(text(files.join(name).join("f")), content);
    }
    assert!(std::fs::symlink_metadata(files.join("link")).unwrap().is_symlink());
}

#[test]
fn names_of_the_old_union_file_system_are_left_out() {
    let store = TestStore::new();
    let archive = Archive::new()
        .directory(".wh..wh.plnk/")
        .file(".wh..wh.plnk/1.2", "x")
        .file(".wh..wh.aufs", "")
        .file("a", "a")
        .finish();
    let (_, files) = store.apply_good(archive);
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 1);
}

#[test]
fn later_entries_replace_earlier_ones() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let archive = Archive::new()
        .file("file-dir", "x")
        .directory("file-dir/")
        .file("file-dir/in", "in")
        .directory("dir-file/")
        .file("dir-file/a/b/c", "x")
        .file("dir-file", "now a file")
        .file("file-file", "old")
        .hard_link("other-name", "file-file")
        .file("file-file", "new")
        .header(Header::new(b"dir-dir/", b'5').mode(0o700))
        .file("dir-dir/kept", "kept")
        .header(Header::new(b"dir-dir/", b'5').mode(0o2751).owner(3, 4).octal(136..148, 77))
        .symlink("link-file", "/etc/passwd")
        .file("link-file", "own")
        .directory("dir-link/")
        .file("dir-link/x", "x")
        .symlink("dir-link", "elsewhere")
        .finish();
    let (_, files) = store.apply_good(archive);
    assert_eq!(text(files.join("file-dir/in")), "in");
    // The file hid what lower layers have; the directory after it must, too.
    assert!(is_opaque(&files.join("file-dir")));
    assert_eq!(text(files.join("dir-file")), "now a file");
    assert_eq!(text(files.join("file-file")) + &text(files.join("other-name")), "newold");
    let metadata = std::fs::metadata(files.join("dir-dir")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid(), metadata.mtime()), (0o2751, 3, 4, 77));
    assert_eq!(text(files.join("dir-dir/kept")), "kept");
    assert!(!is_opaque(&files.join("dir-dir")));
    assert_eq!(text(files.join("link-file")), "own");
    assert_eq!(std::fs::read_link(files.join("dir-link")).unwrap(), Path::new("elsewhere"));
    store.assert_clean();
}

#[test]
fn entries_after_a_replaced_directory_land_in_the_new_one() {
    let store = TestStore::new();
    let archive = Archive::new()
        .file("d/e/first", "1")
        .file("d", "a file")
        .directory("d/")
        .directory("d/e/")
        .file("d/e/second", "2")
        .finish();
    let (_, files) = store.apply_good(archive);
    let names: Vec<_> = std::fs::read_dir(files.join("d/e")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["second"]);
}

#[test]
fn the_last_mode_of_a_directory_holds() {
    let store = TestStore::new();
    let directory = |name: &str, mode| Header::new(name.as_bytes(), b'5').mode(mode);
    let archive = Archive::new()
        .header(directory("merged", 0o2755))
        .header(directory("merged", 0o744))
        .header(directory("again", 0o2755))
        .file("again", "")
        .header(directory("again", 0o711))
        .header(directory("up/implied", 0o2755))
        .file("up", "")
        .header(directory("up", 0o755))
        .file("up/implied/x", "")
        .header(directory("late", 0o755))
        .header(directory("late", 0o2711))
        .finish();
    let (_, files) = store.apply_good(archive);
    let mode = |name: &str| std::fs::metadata(files.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("merged"), mode("again"), mode("late"), mode("up/implied")), (0o744, 0o711, 0o2711, 0o755));
}

#[test]
fn hard_links_stay_within_their_layer() {
    let store = TestStore::new();
    let archive = Archive::new().file("a", "x").hard_link("b", "/a").hard_link("b", "b").hard_link("a", "b").finish();
    let (_, files) = store.apply_good(archive);
    assert_eq!(std::fs::metadata(files.join("a")).unwrap().nlink(), 2);
    let store = TestStore::new();
    for (archive, message) in [
        (Archive::new().hard_link("b", "usr/bin/a"), "which is no file of this archive"),
        (Archive::new().directory("d/").hard_link("b", "d"), "which is no file of this archive"),
        (Archive::new().file(".wh.a", "").hard_link("b", "a"), "which is no file of this archive"),
        (Archive::new().file("d/a", "").hard_link("d", "d/a"), "which is no file of this archive"),
        (Archive::new().file("f", "").hard_link("b", "f/a"), "which is no file of this archive"),
    ] {
        let found = store.refuse(archive.finish(), ErrorKind::MalformedArchive);
        assert!(found.contains(message) && found.contains("`b`") || found.contains("`d`"), "{found}");
    }
}

#[test]
fn parents_without_entries_are_made_the_same_way_every_time() {
    let store = TestStore::new();
    let (_, files) =
        store.apply_good(Archive::new().file("a/b/c", "x").header(Header::new(b"a/", b'5').mode(0o700)).finish());
    let look = |path: &str| {
        let metadata = std::fs::metadata(files.join(path)).unwrap();
        (metadata.mode() & 0o7777, metadata.mtime())
    };
    assert_eq!(look("a"), (0o700, 1_000_000_000));
    assert_eq!(look("a/b"), (0o755, 0));
    assert_eq!(look(""), (0o755, 0));
}

#[test]
fn the_root_may_have_an_entry() {
    let store = TestStore::new();
    for name in ["./", ".", "/"] {
        let archive = Archive::new().header(Header::new(name.as_bytes(), b'5').mode(0o1750)).file("a", name).finish();
        let (_, files) = store.apply_good(archive);
        let metadata = std::fs::metadata(&files).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o1750, 1_000_000_000));
    }
    let store = TestStore::new();
    store.refuse(Archive::new().file("./", "").finish(), ErrorKind::MalformedArchive);
    store.refuse(Archive::new().symlink("/", "/etc").finish(), ErrorKind::MalformedArchive);
}

#[test]
fn extended_attributes_that_steer_the_kernel_are_dropped() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let records: Vec<(String, &[u8])> = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.whiteout",
        "trusted.anything",
        "user.overlay.redirect",
        "user.overlay.opaque",
        "system.posix_acl_access",
        "security.selinux",
        "security.ima",
        "user.kept",
    ]
    .iter()
    .map(|name| (format!("SCHILY.xattr.{name}"), &b"y"[..]))
    .collect();
    let records: Vec<(&str, &[u8])> = records.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let archive = Archive::new().pax(&records).directory("d/").pax(&records).file("f", "x").finish();
    let (_, files) = store.apply_good(archive);
    for (path, node) in support::snapshot(&files) {
        let expected = usize::from(path != Path::new(""));
        assert_eq!(node.xattrs.len(), expected, "{} {:?}", path.display(), node.xattrs);
    }
    let bad = Archive::new().pax(&[("SCHILY.xattr.security.capability", b"nonsense")]).file("f", "").finish();
    TestStore::new().refuse(bad, ErrorKind::MalformedArchive);
}

#[test]
fn limits_hold() {
    let store = TestStore::new();
    let tight = ApplyLimits { max_bytes: 100_000 };
    let try_it = |archive: &[u8]| store.layers.apply_stream(None, &mut &archive[..], &tight, None).unwrap_err().kind;
    let zeros = vec![0u8; 10 << 20];
    let bomb = zstd::encode_all(&zeros[..], 1).unwrap();
    assert_eq!(try_it(&bomb), ErrorKind::TooLarge);
    let after_the_end = [Archive::new().file("a", "").finish(), zeros].concat();
    assert_eq!(try_it(&after_the_end), ErrorKind::TooLarge);
    let sparse = Archive::new()
        .pax(&[("GNU.sparse.size", b"1099511627776"), ("GNU.sparse.map", b"0,0")])
        .file("sparse", "")
        .finish();
    assert_eq!(try_it(&sparse), ErrorKind::TooLarge);
    let header = Archive::new().header(Header::new(b"pax", b'x').size((1 << 20) + 1)).finish();
    assert_eq!(try_it(&header), ErrorKind::TooLarge);
    store.assert_clean();
}

#[test]
fn gzip_bombs_are_stopped_early() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1024 {
        encoder.write_all(&vec![0u8; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let store = TestStore::new();
    let header = Header::new(b"zeros", b'0').size(1 << 30);
    let mut start = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    start.write_all(&header.sealed()).unwrap();
    store.refuse([start.finish().unwrap(), bomb].concat(), ErrorKind::TooLarge);
}

#[test]
fn several_gzip_members_are_one_archive() {
    use std::io::Write;
    let archive = Archive::new().file("a", &"x".repeat(2000)).finish();
    let (first, second) = archive.split_at(700);
    let mut stream = Vec::new();
    for part in [first, second] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(part).unwrap();
        stream.extend(encoder.finish().unwrap());
    }
    let store = TestStore::new();
    let plain = store.apply(archive).unwrap();
    let joined = TestStore::new().apply(stream).unwrap();
    assert_eq!(plain, joined);
}

#[test]
fn what_a_digest_covers_may_lack_its_end_marker() {
    let whole = Archive::new().file("a", "x").finish();
    let bare = whole[..1024].to_vec();
    let digest = ctr_core::content::digest_of(&bare);
    let store = TestStore::new();
    store.refuse(bare.clone(), ErrorKind::MalformedArchive);
    store.layers.apply_stream(Some(&digest), &mut &bare[..], &support::LIMITS, None).unwrap();
    let error =
        store.layers.apply_stream(Some(&ctr_core::content::digest_of(&whole)), &mut &bare[..], &support::LIMITS, None);
    assert_eq!(error.unwrap_err().kind, ErrorKind::DigestMismatch);
}
