//! What the layer tests share: archives made by code, a store in a temporary directory, snapshots of trees.

#![allow(dead_code, reason = "no test uses everything")]
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ctr_core::layer::{ApplyLimits, DirectoryStore, LayerInfo, LayerStore};
use ctr_core::scratch::Scratch;
use ctr_core::{ErrorKind, Result};

pub const LIMITS: ApplyLimits = ApplyLimits { max_bytes: 64 << 20 };

/// Whether the tests may make devices and give files away; says so when not.
pub fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: needs root (devices, owners, overlay mounts)");
    }
    is_root
}

/// A header to be changed at will.
#[derive(Clone)]
pub struct Header(pub [u8; 512]);

impl Header {
    pub fn new(name: &[u8], type_flag: u8) -> Self {
        let mut header = Self([0; 512]);
        header.0[..name.len()].copy_from_slice(name);
        header.0[156] = type_flag;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        let mode = if type_flag == b'5' { 0o755 } else { 0o644 };
        header.octal(100..108, mode).octal(108..116, uid()).octal(116..124, gid()).octal(136..148, 1_000_000_000)
    }

    pub fn octal(mut self, range: std::ops::Range<usize>, value: u64) -> Self {
        let width = range.len() - 1;
        self.0[range][..=width].copy_from_slice(format!("{value:0width$o}\0").as_bytes());
        self
    }

    pub fn mode(self, mode: u64) -> Self {
        self.octal(100..108, mode)
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        self.octal(108..116, uid).octal(116..124, gid)
    }

    pub fn size(self, size: u64) -> Self {
        self.octal(124..136, size)
    }

    pub fn link(mut self, target: &[u8]) -> Self {
        self.0[157..157 + target.len()].copy_from_slice(target);
        self
    }

    pub fn device(self, major: u64, minor: u64) -> Self {
        self.octal(329..337, major).octal(337..345, minor)
    }

    pub fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn sealed(mut self) -> [u8; 512] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

fn uid() -> u64 {
    rustix::process::geteuid().as_raw().into()
}

fn gid() -> u64 {
    rustix::process::getegid().as_raw().into()
}

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Archive(pub Vec<u8>);

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(mut self, header: Header) -> Self {
        self.0.extend_from_slice(&header.sealed());
        self
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn entry(self, header: Header, data: &[u8]) -> Self {
        self.header(header.size(data.len() as u64)).data(data)
    }

    pub fn file(self, name: &str, data: &str) -> Self {
        self.entry(Header::new(name.as_bytes(), b'0'), data.as_bytes())
    }

    pub fn directory(self, name: &str) -> Self {
        self.header(Header::new(name.as_bytes(), b'5'))
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.header(Header::new(name.as_bytes(), b'2').link(target.as_bytes()))
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.header(Header::new(name.as_bytes(), b'1').link(target.as_bytes()))
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let payload = key.len() + value.len() + 3;
            let mut length = payload + 1;
            while length.to_string().len() + payload > length {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(Header::new(b"pax", b'x'), &data)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A store in a temporary directory, with a file beside it that nothing may touch.
pub struct TestStore {
    pub folder: tempfile::TempDir,
    pub layers: DirectoryStore,
    pub scratch: std::sync::Arc<Scratch>,
}

impl TestStore {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("canary"), "untouched").unwrap();
        let scratch = Scratch::open(&folder.path().join("store")).unwrap();
        let layers = DirectoryStore::open(scratch.clone()).unwrap();
        Self { folder, layers, scratch }
    }

    pub fn apply(&self, archive: Vec<u8>) -> Result<LayerInfo> {
        self.layers.apply_stream(None, &mut &archive[..], &LIMITS, None)
    }

    /// Applies, and gives the diff id and the folder of the files.
    pub fn apply_good(&self, archive: Vec<u8>) -> (String, PathBuf) {
        let info = self.apply(archive).unwrap();
        let files = self.files(&info.diff_id);
        (info.diff_id, files)
    }

    pub fn files(&self, diff_id: &str) -> PathBuf {
        self.folder.path().join("store/layers/sha256").join(&diff_id[7..]).join("fs")
    }

    /// Applies an archive that must be refused; nothing may be left of it.
    pub fn refuse(&self, archive: Vec<u8>, kind: ErrorKind) -> String {
        let error = self.apply(archive).unwrap_err();
        assert_eq!(error.kind, kind, "{}", error.message);
        self.assert_clean();
        assert!(self.layers.layers().unwrap().is_empty());
        error.message
    }

    /// Nothing is left in `tmp/` and `trash/`, and the canary lives.
    pub fn assert_clean(&self) {
        for name in ["tmp", "trash"] {
            let left = std::fs::read_dir(self.folder.path().join("store").join(name)).unwrap().count();
            assert_eq!(left, 0, "{name}");
        }
        assert_eq!(std::fs::read_to_string(self.folder.path().join("canary")).unwrap(), "untouched");
        let names: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

/// Everything that can be seen of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub links: u64,
    pub device: u64,
    pub content: Vec<u8>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// All files beneath `root` (and itself, as the empty path). Directories' link counts and devices' contents are left out.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    visit(root, Path::new(""), &mut nodes);
    nodes
}

fn visit(root: &Path, path: &Path, nodes: &mut BTreeMap<PathBuf, Node>) {
    let full = root.join(path);
    let metadata = std::fs::symlink_metadata(&full).unwrap();
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        std::fs::read(&full).unwrap()
    } else if kind.is_symlink() {
        std::fs::read_link(&full).unwrap().into_os_string().into_vec()
    } else {
        Vec::new()
    };
    let node = Node {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        links: if kind.is_dir() { 0 } else { metadata.nlink() },
        device: metadata.rdev(),
        content,
        xattrs: xattrs(&full),
    };
    nodes.insert(path.to_path_buf(), node);
    if kind.is_dir() {
        for entry in std::fs::read_dir(&full).unwrap() {
            visit(root, &path.join(entry.unwrap().file_name()), nodes);
        }
    }
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0u8; 65536];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap();
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 65536];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    found
}

/// Asserts that two trees are the same and says where they differ.
pub fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (snapshot(ours), snapshot(theirs));
    let names = |nodes: &BTreeMap<PathBuf, Node>| nodes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (path, node) in &ours {
        assert_eq!(node, &theirs[path], "{}", path.display());
    }
}
