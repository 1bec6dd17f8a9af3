//! The store's interface: what every implementation must do, and what the first one does beyond it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ctr_core::content::digest_of;
use ctr_core::layer::LayerStore;
use ctr_core::progress::Progress;
use ctr_core::{Error, ErrorKind};
use support::{Archive, Header, LIMITS, TestStore, is_root};

type Check = fn(&dyn LayerStore);

/// Runs the whole suite on stores that `make` opens empty; the value beside the store keeps it alive.
fn conformance<K>(make: impl Fn() -> (Box<dyn LayerStore>, K)) {
    let suite: &[(&str, Check)] = &[
        ("a layer appears whole", a_layer_appears_whole),
        ("nothing is read twice", nothing_is_read_twice),
        ("a failed layer leaves nothing", a_failed_layer_leaves_nothing),
        ("malformed ids are refused", malformed_ids_are_refused),
        ("removal", removal),
        ("the merged view", the_merged_view),
        ("links in the merged view", links_in_the_merged_view),
        ("locks exclude and can be given up", locks_exclude),
        ("many at once", many_at_once),
    ];
    for (name, check) in suite {
        eprintln!("conformance: {name}");
        let (store, _keep) = make();
        check(&*store);
    }
}

fn apply(store: &dyn LayerStore, archive: Archive) -> String {
    store.apply_stream(None, &mut &archive.finish()[..], &LIMITS, None).unwrap().diff_id
}

fn read(store: &dyn LayerStore, layers: &[&String], path: &str) -> Option<String> {
    let layers: Vec<String> = layers.iter().map(|layer| (*layer).clone()).collect();
    store.read_rootfs_file(&layers, path, 1000).unwrap().map(|data| String::from_utf8(data).unwrap())
}

fn a_layer_appears_whole(store: &dyn LayerStore) {
    let archive = Archive::new().directory("d/").file("d/f", "12345").symlink("l", "d").finish();
    let digest = digest_of(&archive);
    assert_eq!(store.layer(&digest).unwrap(), None);
    let info = store.apply_stream(Some(&digest), &mut &archive[..], &LIMITS, None).unwrap();
    assert_eq!((info.diff_id.as_str(), info.disk_bytes, info.entries), (digest.as_str(), 5, 3));
    assert_eq!(info.archive_bytes, archive.len() as u64);
    assert_eq!(store.layer(&digest).unwrap(), Some(info));
    assert_eq!(store.layers().unwrap(), std::slice::from_ref(&digest));
    assert_eq!(read(store, &[&digest], "/d/f").unwrap(), "12345");
}

fn nothing_is_read_twice(store: &dyn LayerStore) {
    struct Unreadable;
    impl std::io::Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("read although the layer is here")
        }
    }
    let id = apply(store, Archive::new().file("a", "x"));
    assert_eq!(store.apply_stream(Some(&id), &mut Unreadable, &LIMITS, None).unwrap().diff_id, id);
}

fn a_failed_layer_leaves_nothing(store: &dyn LayerStore) {
    struct FailsAtTheEnd(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for FailsAtTheEnd {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::Error::other(Error::new(ErrorKind::SizeMismatch, "one byte is missing"))),
                count => Ok(count),
            }
        }
    }
    let archive = Archive::new().file("a", "x").finish();
    let digest = digest_of(&archive);
    let mut reader = FailsAtTheEnd(std::io::Cursor::new(archive.clone()));
    let error = store.apply_stream(Some(&digest), &mut reader, &LIMITS, None).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::SizeMismatch, "one byte is missing"));
    let wrong = digest_of(b"something else");
    let error = store.apply_stream(Some(&wrong), &mut &archive[..], &LIMITS, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::DigestMismatch);
    let cancelled = Progress::default();
    cancelled.cancel();
    let error = store.apply_stream(None, &mut &archive[..], &LIMITS, Some(&cancelled)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(store.layers().unwrap().is_empty());
}

fn malformed_ids_are_refused(store: &dyn LayerStore) {
    for id in ["", "sha256:", "sha256:../../../etc", "../x", &"a".repeat(64)] {
        assert_eq!(store.layer(id).unwrap_err().kind, ErrorKind::InvalidArgument);
        assert_eq!(store.remove_layer(id).unwrap_err().kind, ErrorKind::InvalidArgument);
        assert_eq!(store.rootfs_lowers(&[id.to_owned()]).unwrap_err().kind, ErrorKind::InvalidArgument);
        assert_eq!(store.lock_layer(id, None).unwrap_err().kind, ErrorKind::InvalidArgument);
    }
    assert_eq!(store.rootfs_lowers(&[]).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(store.rootfs_lowers(&[digest_of(b"")]).unwrap_err().kind, ErrorKind::NotFound);
}

fn removal(store: &dyn LayerStore) {
    let first = apply(store, Archive::new().file("d/a", "12345"));
    let second = apply(store, Archive::new().file("d/b", "1"));
    let chain = [first.clone(), second.clone()];
    assert_eq!(store.rootfs_lowers(&chain).unwrap(), store.rootfs_lowers(&chain).unwrap());
    assert_eq!(store.remove_layer(&first).unwrap(), 5);
    assert_eq!(store.remove_layer(&first).unwrap(), 0);
    assert_eq!(store.rootfs_lowers(&chain).unwrap_err().kind, ErrorKind::NotFound);
    store.sweep().unwrap();
    assert_eq!(store.layers().unwrap(), [second]);
    assert_eq!(apply(store, Archive::new().file("d/a", "12345")), first);
    store.rootfs_lowers(&chain).unwrap();
}

fn the_merged_view(store: &dyn LayerStore) {
    let bottom = apply(
        store,
        Archive::new().file("etc/passwd", "old").file("etc/group", "group").file("var/a", "a").file("x/deep/f", "f"),
    );
    let middle = apply(store, Archive::new().file("etc/passwd", "new").file("var/b", "b").file("x/.wh.deep", ""));
    let top = apply(store, Archive::new().file("etc/.wh.group", "").file("x/deep/g", "g"));
    let opaque = apply(store, Archive::new().file("var/.wh..wh..opq", "").file("var/c", "c"));
    let stack = [&bottom, &middle, &top];
    assert_eq!(read(store, &stack, "etc/passwd").unwrap(), "new");
    assert_eq!(read(store, &[&bottom], "etc/passwd").unwrap(), "old");
    assert_eq!(read(store, &stack, "/etc/group"), None);
    assert_eq!(read(store, &stack[..2], "/etc/group").unwrap(), "group");
    assert_eq!(read(store, &stack, "var/a").unwrap() + &read(store, &stack, "var/b").unwrap(), "ab");
    assert_eq!(read(store, &stack, "x/deep/f"), None);
    assert_eq!(read(store, &stack, "x/deep/g").unwrap(), "g");
    assert_eq!(read(store, &stack, "etc"), None);
    assert_eq!(read(store, &stack, "etc/passwd/x"), None);
    let stack = [&bottom, &middle, &opaque];
    assert_eq!((read(store, &stack, "var/a"), read(store, &stack, "var/c").unwrap()), (None, "c".to_owned()));
    let everything = apply(store, Archive::new().file(".wh..wh..opq", "").file("only", "this"));
    let stack = [&bottom, &middle, &everything];
    assert_eq!((read(store, &stack, "etc/passwd"), read(store, &stack, "only").unwrap()), (None, "this".to_owned()));
    let lines = [bottom.clone()];
    assert_eq!(store.read_rootfs_file(&lines, "etc/passwd", 2).unwrap_err().kind, ErrorKind::TooLarge);
}

fn links_in_the_merged_view(store: &dyn LayerStore) {
    let bottom = apply(
        store,
        Archive::new()
            .file("usr/lib/passwd", "p")
            .symlink("lib", "usr/lib")
            .symlink("etc", "/usr/lib")
            .symlink("up", "../../../usr/./lib/../lib")
            .symlink("usr/self", "lib/passwd")
            .symlink("loop", "loop")
            .symlink("out", "../../../../../../etc/hostname"),
    );
    let top = apply(store, Archive::new().symlink("via", "lib/passwd").file("usr/lib/hostname", "container"));
    let stack = [&bottom, &top];
    for path in ["lib/passwd", "etc/passwd", "up/passwd", "usr/self", "via", "/../../lib/passwd", "lib/../lib/passwd"] {
        assert_eq!(read(store, &stack, path).as_deref(), Some("p"), "{path}");
    }
    assert_eq!(read(store, &stack, "out").as_deref(), Some("container"));
    assert_eq!(read(store, &stack, "loop"), None);
    assert_eq!(read(store, &stack, "missing"), None);
}

fn locks_exclude(store: &dyn LayerStore) {
    let id = digest_of(b"x");
    let held = store.lock_layer(&id, None).unwrap();
    let other = store.lock_layer(&digest_of(b"y"), None).unwrap();
    drop(other);
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.lock_layer(&id, Some(&progress)).err().map(|error| error.kind));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        progress.cancel();
        assert_eq!(waiting.join().unwrap(), Some(ErrorKind::Cancelled));
        let waiting = scope.spawn(|| store.lock_layer(&id, None).map(drop));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
    });
}

fn many_at_once(store: &dyn LayerStore) {
    let archive = Archive::new().file("d/a", &"x".repeat(10_000)).finish();
    let digest = digest_of(&archive);
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (archive, digest, made) = (&archive, &digest, &made);
            scope.spawn(move || {
                // Half of them forget the lock: the result must be right all the same.
                let lock = (number % 2 == 0).then(|| store.lock_layer(digest, None).unwrap());
                if lock.is_some() && store.layer(digest).unwrap().is_none() {
                    made.fetch_add(1, Ordering::Relaxed);
                }
                let info = store.apply_stream(Some(digest), &mut &archive[..], &LIMITS, None).unwrap();
                assert_eq!(info.disk_bytes, 10_000);
            });
        }
    });
    assert!(made.load(Ordering::Relaxed) <= 1);
    assert_eq!(store.layers().unwrap(), [digest]);
}

#[test]
fn the_directory_store_conforms() {
    if !is_root() {
        return;
    }
    conformance(|| {
        let test = TestStore::new();
        let store: Box<dyn LayerStore> = Box::new(ctr_core::layer::DirectoryStore::open(test.scratch.clone()).unwrap());
        (store, test)
    });
}

/// A real overlay mount of an image's layers, gone when dropped.
struct Overlay(PathBuf);

impl Overlay {
    fn mount(store: &TestStore, layers: &[&String]) -> Self {
        let layers: Vec<String> = layers.iter().map(|layer| (*layer).clone()).collect();
        let mut lowers = store.layers.rootfs_lowers(&layers).unwrap();
        let place = store.folder.path().join("store/mounted");
        std::fs::create_dir_all(&place).unwrap();
        // Overlayfs wants two lower directories when there is no upper one.
        let empty = store.folder.path().join("store/empty");
        std::fs::create_dir_all(&empty).unwrap();
        lowers.push(empty);
        let options =
            format!("lowerdir={}", lowers.iter().map(|lower| lower.to_str().unwrap()).collect::<Vec<_>>().join(":"));
        let data = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount("overlay", &place, "overlay", flags, Some(data.as_c_str())).unwrap();
        Self(place)
    }

    fn look(&self, path: &str) -> (u32, u32, i64) {
        let metadata = std::fs::metadata(self.0.join(path)).unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.mtime())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn overlayfs_shows_what_the_archives_say() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let bottom = apply(
        &store.layers,
        Archive::new()
            .directory("d/")
            .file("d/gone", "1")
            .file("d/kept", "2")
            .directory("o/")
            .file("o/hidden", "3")
            .directory("to-file/")
            .file("to-file/x", "4")
            .file("to-dir", "5"),
    );
    let top = apply(
        &store.layers,
        Archive::new()
            .directory("d/")
            .file("d/.wh.gone", "")
            .directory("o/")
            .file("o/.wh..wh..opq", "")
            .file("o/new", "6")
            .file("to-file", "7")
            .directory("to-dir/")
            .file("to-dir/y", "8"),
    );
    let overlay = Overlay::mount(&store, &[&bottom, &top]);
    let names = |path: &str| {
        let entries = std::fs::read_dir(overlay.0.join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["d", "o", "to-dir", "to-file"]);
    assert_eq!((names("d"), names("o"), names("to-dir")), (vec!["kept".into()], vec!["new".into()], vec!["y".into()]));
    assert_eq!(std::fs::read_to_string(overlay.0.join("to-file")).unwrap(), "7");
}

#[test]
fn implied_directories_look_as_their_lower_layers_say() {
    if !is_root() {
        return;
    }
    let store = TestStore::new();
    let directory = |name: &str, mode| Header::new(name.as_bytes(), b'5').mode(mode);
    let bottom = apply(
        &store.layers,
        Archive::new()
            .header(directory("./", 0o755).owner(0, 5))
            .header(directory("tmp/", 0o1777))
            .header(directory("home/", 0o755))
            .pax(&[("SCHILY.xattr.user.a", b"b")])
            .header(directory("home/user/", 0o700).owner(1000, 1000))
            .header(directory("hidden/", 0o711))
            .header(directory("hidden/in/", 0o711))
            .header(directory("plain/", 0o755).octal(136..148, 0)),
    );
    let top = apply(
        &store.layers,
        Archive::new()
            .file("tmp/a", "")
            .file("home/user/.config/b", "")
            .file("hidden/.wh..wh..opq", "")
            .file("hidden/in/c", "")
            .file("plain/d", ""),
    );
    {
        let overlay = Overlay::mount(&store, &[&bottom, &top]);
        assert_eq!(overlay.look("tmp"), (0o1777, 0, 1_000_000_000));
        assert_eq!(overlay.look("home"), (0o755, 0, 1_000_000_000));
        assert_eq!(overlay.look("home/user"), (0o700, 1000, 1_000_000_000));
        assert_eq!(overlay.look("home/user/.config"), (0o755, 0, 0));
        // Opaque is about what is in the directory, which is the lower one's still; what was in it is not.
        assert_eq!(overlay.look("hidden"), (0o711, 0, 1_000_000_000));
        assert_eq!(overlay.look("hidden/in"), (0o755, 0, 0));
        assert_eq!(std::fs::metadata(&overlay.0).unwrap().gid(), 5);
        let mut value = [0u8; 8];
        assert_eq!(rustix::fs::getxattr(overlay.0.join("home/user"), "user.a", &mut value), Ok(1));
        for path in ["tmp/a", "home/user/.config/b", "hidden/in/c", "plain/d"] {
            assert!(overlay.0.join(path).exists(), "{path}");
        }
    }
    let chain = [bottom.clone(), top.clone()];
    assert_eq!(store.layers.rootfs_lowers(&chain).unwrap().len(), 3);
    // A third layer that implies the same directories gets its look through the fix-up of the second.
    let third = apply(&store.layers, Archive::new().file("home/user/x", ""));
    {
        let overlay = Overlay::mount(&store, &[&bottom, &top, &third]);
        assert_eq!(overlay.look("home/user"), (0o700, 1000, 1_000_000_000));
    }
    let count = |name: &str| std::fs::read_dir(store.folder.path().join("store").join(name)).unwrap().count();
    assert_eq!((count("fixups/sha256"), count("stacks/sha256")), (2, 2));
    store.layers.remove_layer(&third).unwrap();
    assert_eq!((count("fixups/sha256"), count("stacks/sha256")), (1, 1));
    // Killed between the removal of a layer and of its fix-ups.
    std::fs::remove_dir_all(store.files(&bottom).parent().unwrap()).unwrap();
    store.layers.sweep().unwrap();
    assert_eq!((count("fixups/sha256"), count("stacks/sha256")), (0, 0));
}

#[test]
fn layers_with_entries_for_everything_need_no_fixup() {
    let store = TestStore::new();
    let bottom = apply(&store.layers, Archive::new().directory("d/").file("d/a", ""));
    let top = apply(&store.layers, Archive::new().directory("d/").file("d/b", ""));
    let lowers = store.layers.rootfs_lowers(&[bottom.clone(), top.clone()]).unwrap();
    assert_eq!(lowers, [store.files(&top), store.files(&bottom)]);
}

#[test]
fn what_a_killed_process_left_is_swept() {
    let store = TestStore::new();
    let left = store.folder.path().join("store/tmp/4194304-1-0123");
    std::fs::create_dir_all(left.join("fs/half/of/a/layer")).unwrap();
    std::fs::create_dir_all(store.folder.path().join("store/trash/old/layer")).unwrap();
    store.layers.sweep().unwrap();
    store.assert_clean();
}

#[test]
fn archives_are_unpacked_for_reading() {
    use ctr_core::archive::{open_beneath, unpack_archive};
    use std::io::Read;
    let store = TestStore::new();
    let archive = Archive::new()
        .entry(Header::new(b"manifest.json", b'0').mode(0).owner(9, 9), b"[]")
        .header(Header::new(b"a/", b'5').mode(0))
        .file("a/layer.tar", "layer")
        .directory("b/")
        .symlink("b/layer.tar", "../a/layer.tar")
        .symlink("out", "../../../../canary")
        .symlink("absolute", "/etc/passwd")
        .header(Header::new(b"fifo", b'6'))
        .header(Header::new(b"device", b'3').device(1, 3))
        .file("a/.wh.kept", "as it is")
        .finish();
    let folder = unpack_archive(&store.scratch, &mut &archive[..], &LIMITS, None).unwrap();
    store.layers.sweep().unwrap();
    let text = |path: &str| {
        let mut text = String::new();
        open_beneath(&folder, Path::new(path)).map(|fd| std::fs::File::from(fd).read_to_string(&mut text).unwrap())?;
        Ok::<_, Error>(text)
    };
    assert_eq!(text("manifest.json").unwrap(), "[]");
    assert_eq!(text("b/layer.tar").unwrap(), "layer");
    assert_eq!(text("b/../a/layer.tar").unwrap(), "layer");
    assert_eq!(text("a/.wh.kept").unwrap(), "as it is");
    for (path, kind) in [
        ("out", ErrorKind::HostileArchive),
        ("absolute", ErrorKind::HostileArchive),
        ("../../canary", ErrorKind::HostileArchive),
        ("/etc/passwd", ErrorKind::HostileArchive),
        ("fifo", ErrorKind::NotFound),
        ("device", ErrorKind::NotFound),
        ("missing", ErrorKind::NotFound),
        ("manifest.json/x", ErrorKind::NotFound),
        ("a", ErrorKind::MalformedArchive),
    ] {
        assert_eq!(text(path).unwrap_err().kind, kind, "{path}");
    }
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("manifest.json"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(text("manifest.json").unwrap_err().kind, ErrorKind::MalformedArchive);
    store.scratch.discard(&folder).unwrap();
    store.scratch.discard(&folder).unwrap();
    store.assert_clean();
    let error = unpack_archive(&store.scratch, &mut &Archive::new().file("../x", "").finish()[..], &LIMITS, None);
    assert_eq!(error.unwrap_err().kind, ErrorKind::HostileArchive);
    store.assert_clean();
}

/// Stalls where a stream would end.
struct NeverEnds(std::io::Cursor<Vec<u8>>);
impl std::io::Read for NeverEnds {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = std::io::Read::read(&mut self.0, buffer)?;
        if count == 0 {
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok(count)
    }
}

/// Runs as the killed process of the next test, when told where its store is; otherwise it is no test at all.
#[test]
fn child_that_is_killed() {
    let Some(root) = std::env::var_os("PYRUST_CTR_TEST_STORE") else { return };
    let scratch = ctr_core::scratch::Scratch::open(Path::new(&root)).unwrap();
    let store = ctr_core::layer::DirectoryStore::open(scratch).unwrap();
    let _lock = store.lock_layer(&digest_of(b"x"), None).unwrap();
    // More than a pipeline's buffers, so that files come into being.
    let archive = Archive::new().file("made", "x").entry(Header::new(b"big", b'0'), &vec![1; 8 << 20]).0;
    store.apply_stream(None, &mut NeverEnds(std::io::Cursor::new(archive)), &LIMITS, None).unwrap();
}

#[test]
fn a_process_killed_in_the_middle_leaves_its_lock_and_nothing_for_ever() {
    let store = TestStore::new();
    let root = store.folder.path().join("store");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed"])
        .env("PYRUST_CTR_TEST_STORE", &root)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let made = || {
        let folders = std::fs::read_dir(root.join("tmp")).unwrap();
        folders.flatten().any(|folder| folder.path().join("fs/made").exists())
    };
    let begin = std::time::Instant::now();
    while !made() && begin.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let was_made = made();
    store.layers.sweep().unwrap();
    let survived_sweep = made();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(was_made && survived_sweep);
    drop(store.layers.lock_layer(&digest_of(b"x"), None).unwrap());
    store.layers.sweep().unwrap();
    assert!(store.layers.layers().unwrap().is_empty());
    store.assert_clean();
}
