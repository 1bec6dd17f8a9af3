//! Archives that attack: each is refused with one clear sentence or made harmless, and nothing outside is touched.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use ctr_core::ErrorKind::{HostileArchive, MalformedArchive, TooLarge};
use support::{Archive, Header, TestStore, is_root};

fn hostile(archive: Archive) {
    TestStore::new().refuse(archive.finish(), HostileArchive);
}

fn malformed(archive: Archive) {
    TestStore::new().refuse(archive.finish(), MalformedArchive);
}

#[test]
fn names_that_climb() {
    for name in ["../x", "a/../../x", "/../x", "a/..", "..", "./../canary"] {
        hostile(Archive::new().file(name, "x"));
        hostile(Archive::new().directory(name));
        hostile(Archive::new().file("a", "").hard_link("b", name));
    }
    hostile(Archive::new().pax(&[("path", b"../x")]).file("innocent", "x"));
    hostile(Archive::new().entry(Header::new(b"long", b'L'), b"../../x\0").file("innocent", "x"));
    hostile(Archive::new().pax(&[("GNU.sparse.name", b"../x"), ("GNU.sparse.size", b"0")]).file("innocent", ""));
}

#[test]
fn absolute_names_stay_beneath_the_root() {
    let store = TestStore::new();
    let name = store.folder.path().join("canary");
    let (_, files) = store.apply_good(Archive::new().file(&name.to_string_lossy(), "inside").finish());
    assert_eq!(std::fs::read_to_string(files.join(name.strip_prefix("/").unwrap())).unwrap(), "inside");
    store.assert_clean();
}

#[test]
fn entries_through_symbolic_links() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_string_lossy().into_owned();
    for target in [target.as_str(), "..", "../..", "/", "/proc/self/root", "d", "."] {
        let start = || Archive::new().directory("d/").symlink("a", target);
        hostile(start().file("a/x", "x"));
        hostile(start().file("a/b/x", "x"));
        hostile(start().directory("a/x/"));
        hostile(start().symlink("a/x", "y"));
        hostile(start().file("f", "").hard_link("a/x", "f"));
        hostile(start().hard_link("x", "a/canary"));
        hostile(start().file("a/.wh.canary", ""));
        hostile(start().file("a/.wh..wh..opq", ""));
        hostile(start().header(Header::new(b"a/x", b'6')));
    }
    hostile(Archive::new().directory("d/").symlink("d/a", "..").symlink("d/b", "a/..").file("d/b/x", "x"));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_link_replaced_after_its_directory_was_used() {
    // The directory is open in the cache when the link takes its name.
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_string_lossy().into_owned();
    hostile(Archive::new().directory("a/").file("a/x", "x").symlink("a", &target).file("a/y", "y"));
    let store = TestStore::new();
    let archive = Archive::new().symlink("a", &target).directory("a/").file("a/y", "y").finish();
    let (_, files) = store.apply_good(archive);
    assert_eq!(std::fs::read_to_string(files.join("a/y")).unwrap(), "y");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_file_over_a_link_does_not_write_through_it() {
    let store = TestStore::new();
    let canary = store.folder.path().join("canary").to_string_lossy().into_owned();
    let archive = Archive::new()
        .symlink("a", &canary)
        .file("a", "overwritten")
        .symlink("b", &canary)
        .hard_link("c", "b")
        .file("c", "overwritten")
        .symlink("d", &canary)
        .header(Header::new(b"d", b'5').mode(0o777))
        .finish();
    let (_, files) = store.apply_good(archive);
    assert!(std::fs::symlink_metadata(files.join("b")).unwrap().is_symlink());
    store.assert_clean();
}

#[test]
fn whiteouts_of_nothing_and_of_parents() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..."] {
        hostile(Archive::new().directory("a/").file(name, ""));
    }
    malformed(Archive::new().file("a/.wh.b/c", "x"));
}

#[test]
fn smuggled_whiteouts() {
    hostile(Archive::new().header(Header::new(b"passwd", b'3').device(0, 0)));
    if !is_root() {
        return;
    }
    // A block device of that number hides nothing.
    TestStore::new().apply_good(Archive::new().header(Header::new(b"block", b'4').device(0, 0)).finish());
}

#[test]
fn names_with_odd_characters() {
    hostile(Archive::new().pax(&[("path", b"a\0b")]).file("a", ""));
    hostile(Archive::new().pax(&[("linkpath", b"a\0b")]).symlink("a", "b"));
    malformed(Archive::new().file("", "x"));
    malformed(Archive::new().pax(&[("path", &[b'x'; 300])]).file("a", ""));
    malformed(Archive::new().pax(&[("path", &b"x/".repeat(2100))]).file("a", ""));
    malformed(Archive::new().symlink("a", ""));
    let store = TestStore::new();
    let archive =
        Archive::new().file("A", "1").file("a", "2").file("\u{e9}", "3").file("e\u{301}", "4").file("\n\x1b[2J", "5");
    let (_, files) = store.apply_good(archive.finish());
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 5);
    let message = TestStore::new().refuse(Archive::new().file("../\x1b[2J", "x").finish(), HostileArchive);
    assert!(!message.contains('\x1b'));
}

#[test]
fn a_file_as_a_directory() {
    malformed(Archive::new().file("a", "x").file("a/b", "y"));
    malformed(Archive::new().file("a", "x").file("a/b/c", "y"));
    malformed(Archive::new().file("a", "x").file("a/.wh.b", ""));
}

#[test]
fn numbers_out_of_range() {
    for id in [1u64 << 32, (1 << 32) - 1] {
        let encoded = [&[0x80, 0, 0][..], &id.to_be_bytes()[3..]].concat();
        malformed(Archive::new().header(Header::new(b"a", b'0').bytes(108, &encoded)));
        malformed(Archive::new().header(Header::new(b"a", b'0').bytes(116, &encoded)));
        malformed(Archive::new().pax(&[("uid", id.to_string().as_bytes())]).file("a", ""));
        malformed(Archive::new().pax(&[("gid", id.to_string().as_bytes())]).file("a", ""));
    }
    malformed(Archive::new().header(Header::new(b"a", b'0').bytes(108, &[0xff; 8])));
    malformed(Archive::new().pax(&[("uid", b"-1")]).file("a", ""));
    malformed(Archive::new().header(Header::new(b"a", b'0').bytes(124, &[0xff; 12])));
    malformed(
        Archive::new()
            .header(Header::new(b"a", b'0').bytes(124, &[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255])),
    );
    malformed(Archive::new().pax(&[("size", b"18446744073709551615")]).file("a", ""));
    malformed(Archive::new().pax(&[("size", b"1000000")]).file("a", ""));
    malformed(Archive::new().header(Header::new(b"a", b'0').bytes(100, b"9999999\0")));
    malformed(Archive::new().header(Header::new(b"a", b'3').device(4096, 0)));
    malformed(Archive::new().header(Header::new(b"a", b'3').bytes(329, &[0xff; 8])));
}

#[test]
fn sparse_maps_that_lie() {
    for map in ["0,10", "5,1,0,1", "0,1,0,1", "9223372036854775807,9223372036854775807", "1", "0,1,100,5", "x,1"] {
        malformed(
            Archive::new().pax(&[("GNU.sparse.size", b"50"), ("GNU.sparse.map", map.as_bytes())]).file("a", "12"),
        );
    }
    let version_1 = |map: &str| {
        let records: &[(&str, &[u8])] =
            &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"50")];
        Archive::new().pax(records).file("a", map)
    };
    for map in ["9999999\n", "1\n0\n", "x\n", "1\n0\n99999999999999999999999\n", "", "1\n40\n20\n"] {
        malformed(version_1(map));
    }
    // An endless chain of extension blocks ends with the archive or at the limit.
    let mut header = Header::new(b"a", b'S').bytes(257, b"ustar  \0").octal(483..495, 1 << 32);
    header.0[482] = 1;
    let mut archive = Archive::new().header(header);
    for number in 0..15_000u64 {
        let mut block = [0u8; 512];
        for slot in 0..21 {
            let offset = (number * 21 + slot) * 2;
            block[slot as usize * 24..][..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
            block[slot as usize * 24 + 12..][..12].copy_from_slice(b"00000000001\0");
        }
        block[504] = 1;
        archive.0.extend_from_slice(&block);
    }
    malformed(Archive(archive.0[..512 * 100].to_vec()));
    TestStore::new().refuse(archive.finish(), TooLarge);
}

#[test]
fn headers_that_never_come_to_an_entry() {
    let mut archive = Archive::new();
    for _ in 0..1000 {
        archive = archive.entry(Header::new(b"long", b'L'), b"name\0").pax(&[("path", b"a")]);
    }
    malformed(archive);
    malformed(Archive::new().header(Header::new(b"a", b'M')));
    malformed(Archive::new().header(Header::new(b"a", b'!')));
    let mut broken = Header::new(b"a", b'0').sealed();
    broken[0] = b'b';
    TestStore::new().refuse([&broken[..], &[0; 1024]].concat(), MalformedArchive);
    TestStore::new().refuse([&[0; 512][..], &Archive::new().file("a", "").finish()].concat(), MalformedArchive);
}

#[test]
fn devices_fifos_and_set_id_files_are_what_they_say() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let archive = Archive::new()
        .header(Header::new(b"null", b'3').device(1, 3).mode(0o666))
        .header(Header::new(b"fifo", b'6').mode(0o644))
        .entry(Header::new(b"su", b'0').mode(0o4755).owner(0, 0), b"x")
        .entry(Header::new(b"given", b'0').mode(0o6755).owner(99, 98), b"x")
        .finish();
    let (_, files) = store.apply_good(archive);
    let of = |name: &str| std::fs::symlink_metadata(files.join(name)).unwrap();
    assert!(of("null").file_type().is_char_device() && of("null").rdev() == rustix::fs::makedev(1, 3));
    assert!(of("fifo").file_type().is_fifo());
    assert_eq!((of("su").mode(), of("given").mode(), of("given").uid()), (0o104_755, 0o106_755, 99));
}

#[test]
fn every_truncation_is_an_error_and_leaves_nothing() {
    let archive = Archive::new()
        .directory("d/")
        .pax(&[("path", b"d/named"), ("mtime", b"1.5")])
        .file("x", &"data".repeat(300))
        .entry(Header::new(b"long", b'L'), b"d/other\0")
        .file("y", "")
        .symlink("l", "d")
        .hard_link("h", "d/named")
        .finish();
    let store = TestStore::new();
    for length in (0..archive.len() - 1024).step_by(512) {
        store.refuse(archive[..length].to_vec(), MalformedArchive);
    }
    for length in (1..archive.len() - 1024).step_by(97) {
        store.refuse(archive[..length].to_vec(), MalformedArchive);
    }
    store.apply(archive[..archive.len() - 512].to_vec()).unwrap();
}

#[test]
fn flipped_bits_never_panic() {
    let archive = Archive::new()
        .directory("d/")
        .pax(&[("path", b"d/n"), ("mtime", b"-1.5")])
        .file("x", "data")
        .symlink("l", "d")
        .finish();
    let store = TestStore::new();
    for position in (0..archive.len() - 1024).step_by(7) {
        let mut changed = archive.clone();
        changed[position] ^= 1 << (position % 5);
        if let Ok(layer) = store.apply(changed) {
            ctr_core::layer::LayerStore::remove_layer(&store.layers, &layer.diff_id).unwrap();
        }
    }
    store.assert_clean();
}
