//! From diff ids to the directories that overlayfs stacks.
//!
//! A layer's archive may have entries beneath a directory that it has no entry for. Where a lower layer has that
//! directory, its mode, owner, attributes and time are what the image means; but overlayfs shows those of the topmost
//! directory, which was made out of nothing. A fix-up layer, placed directly above, holds just these directories as they
//! should be. It depends on the layers below, so it belongs to the chain and not to the layer.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, mkdirat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::directory::{DirectoryStore, LayerRecord};
use super::merged::MergedTree;
use crate::content::{digest_of, hex_of};
use crate::scratch::names;
use crate::{Error, ErrorKind, Result};

const CHAIN: &str = "chain.json";
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// A remembered answer, and the chain that a fix-up belongs to.
#[derive(Serialize, Deserialize)]
struct Stack {
    /// Bottom first.
    diff_ids: Vec<String>,
    /// Relative to the store's root, topmost first.
    lowers: Vec<PathBuf>,
}

/// See [`super::LayerStore::rootfs_lowers`].
pub fn rootfs_lowers(store: &DirectoryStore, diff_ids: &[String]) -> Result<Vec<PathBuf>> {
    if diff_ids.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "an image without layers has no root file system"));
    }
    let root = store.scratch.root();
    let key = chain_key(diff_ids)?;
    if let Some(stack) = read_document::<Stack>(&store.stacks, Path::new(&key)) {
        let lowers: Vec<PathBuf> = stack.lowers.iter().map(|lower| root.join(lower)).collect();
        if stack.diff_ids == diff_ids
            && lowers.iter().all(|lower| rustix::fs::access(lower, rustix::fs::Access::EXISTS).is_ok())
        {
            return Ok(lowers);
        }
    }
    let lowers = build(store, diff_ids)?;
    remember(store, &key, &Stack { diff_ids: diff_ids.to_vec(), lowers: lowers.clone() })?;
    Ok(lowers.iter().map(|lower| root.join(lower)).collect())
}

fn build(store: &DirectoryStore, diff_ids: &[String]) -> Result<Vec<PathBuf>> {
    let mut lowers: Vec<PathBuf> = Vec::new();
    for (index, diff_id) in diff_ids.iter().enumerate() {
        let record = store.present_record(diff_id)?;
        let layer = PathBuf::from(format!("layers/sha256/{}/fs", hex_of(diff_id)?));
        if record.is_root_opaque {
            lowers.clear();
        }
        let fixup = make_fixup(store, &diff_ids[..=index], &layer, &record, &lowers)?;
        lowers.insert(0, layer);
        if let Some(fixup) = fixup {
            lowers.insert(0, fixup);
        }
    }
    Ok(lowers)
}

/// Makes the fix-up of the last layer of `chain` when it needs one; `below` are the directories beneath that layer.
fn make_fixup(
    store: &DirectoryStore,
    chain: &[String],
    layer: &Path,
    record: &LayerRecord,
    below: &[PathBuf],
) -> Result<Option<PathBuf>> {
    let implied: BTreeSet<Vec<u8>> = record.implied().into_iter().collect();
    if below.is_empty() || implied.is_empty() {
        return Ok(None);
    }
    let root = store.scratch.root();
    let own = MergedTree::open(&[root.join(layer)])?;
    let below = MergedTree::open(&below.iter().map(|lower| root.join(lower)).collect::<Vec<_>>())?;
    let mut wanted = BTreeSet::new();
    for path in &implied {
        let (Some(made), Some(meant)) = (own.directory(path)?, visible_below(&own, &below, path)?) else { continue };
        if Looks::of(made.as_fd())?.differ(&Looks::of(meant.as_fd())?, path.is_empty()) {
            wanted.insert(path.clone());
            let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            wanted.extend(slashes.map(|(index, _)| path[..index].to_vec()));
            wanted.insert(Vec::new());
        }
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    let key = chain_key(chain)?;
    let place = PathBuf::from(format!("fixups/sha256/{key}/fs"));
    let folder = store.scratch.new_folder()?;
    write_document(folder.fd(), CHAIN, &Stack { diff_ids: chain.to_vec(), lowers: Vec::new() })?;
    let files = folder.make("fs")?;
    let fixup = MergedTree::of(files);
    let mut looks = Vec::new();
    for path in &wanted {
        let meant = if implied.contains(path) { visible_below(&own, &below, path)? } else { None };
        let Some(source) = meant.map_or_else(|| own.directory(path), |meant| Ok(Some(meant)))? else { continue };
        let look = Looks::of(source.as_fd())?;
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            make_directory(&fixup, &path[..slash], &path[slash + 1..])?;
        } else if !path.is_empty() {
            make_directory(&fixup, b"", path)?;
        }
        looks.push((path, look));
    }
    // Deepest first: what is made in a directory changes its time.
    for (path, look) in looks.iter().rev() {
        if let Some(directory) = fixup.directory(path)? {
            look.give(directory.as_fd()).map_err(|errno| Error::io("fix", &root.join(&place), errno))?;
        }
    }
    // Whoever made the same one first made the same.
    if !folder.seal(store.fixups.as_fd(), &key)? {
        folder.remove()?;
    }
    Ok(Some(place))
}

/// The directory that lies beneath `path` of the layer `own`: hidden when a directory above it is opaque.
fn visible_below(own: &MergedTree, below: &MergedTree, path: &[u8]) -> Result<Option<OwnedFd>> {
    if own.is_hiding_below(path)? { Ok(None) } else { below.directory(path) }
}

fn make_directory(tree: &MergedTree, parent: &[u8], leaf: &[u8]) -> Result<()> {
    let Some(parent) = tree.directory(parent)? else { return Ok(()) };
    mkdirat(parent, leaf, Mode::RWXU)
        .map_err(|errno| Error::io("make a directory of", Path::new("a fix-up layer"), errno))
}

/// How a directory looks: what overlayfs shows of the topmost one.
struct Looks {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    xattrs: Xattrs,
}

impl Looks {
    fn of(directory: BorrowedFd<'_>) -> Result<Self> {
        let looks = || -> Result<Self, Errno> {
            let stat = rustix::fs::fstat(directory)?;
            let mtime = (stat.st_mtime, stat.st_mtime_nsec as u32);
            let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
            Ok(Self { mode, uid, gid, mtime, xattrs: user_xattrs(directory)? })
        };
        looks().map_err(|errno| Error::io("look at", Path::new("a directory of a layer"), errno))
    }

    /// The root's time is no reason: no two layers agree on it, and the container's own upper directory hides it.
    fn differ(&self, other: &Self, is_root: bool) -> bool {
        (self.mode, self.uid, self.gid) != (other.mode, other.uid, other.gid)
            || self.xattrs != other.xattrs
            || (self.mtime != other.mtime && !is_root)
    }

    fn give(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::fs::fchown(directory, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        rustix::fs::fchmod(directory, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(directory, name.as_slice(), value, XattrFlags::empty())?;
        }
        let time = Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() };
        rustix::fs::futimens(directory, &Timestamps { last_access: time, last_modification: time })
    }
}

/// Names and values, sorted.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes that archives may set on directories, sorted.
fn user_xattrs(directory: BorrowedFd<'_>) -> Result<Xattrs, Errno> {
    let mut list = vec![0u8; 65536];
    let length = match rustix::fs::flistxattr(directory, &mut list) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0) {
        if name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") {
            let mut value = vec![0u8; 65536];
            let length = rustix::fs::fgetxattr(directory, name, &mut value)?;
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the fix-ups and answers whose chain `is_stale`.
pub fn forget(store: &DirectoryStore, is_stale: impl Fn(&[String]) -> bool) -> Result<()> {
    for name in names(store.fixups.as_fd())? {
        let chain = read_document::<Stack>(&store.fixups, &Path::new(&name).join(CHAIN));
        if chain.is_none_or(|chain| is_stale(&chain.diff_ids)) {
            store.scratch.remove(store.fixups.as_fd(), &name)?;
        }
    }
    for name in names(store.stacks.as_fd())? {
        let stack = read_document::<Stack>(&store.stacks, Path::new(&name));
        if stack.is_none_or(|stack| is_stale(&stack.diff_ids)) {
            store.scratch.remove(store.stacks.as_fd(), &name)?;
        }
    }
    Ok(())
}

fn chain_key(diff_ids: &[String]) -> Result<String> {
    for diff_id in diff_ids {
        hex_of(diff_id)?;
    }
    let digest = digest_of(diff_ids.join("\n").as_bytes());
    hex_of(&digest).map(str::to_owned)
}

/// Keeps an answer. Lost or torn by a power cut, it is found again from the layers.
fn remember(store: &DirectoryStore, key: &str, stack: &Stack) -> Result<()> {
    let folder = store.scratch.new_folder()?;
    write_document(folder.fd(), "stack", stack)?;
    let moved = rustix::fs::renameat(folder.fd(), "stack", &store.stacks, key);
    moved.map_err(|errno| Error::io("keep", &store.scratch.root().join("stacks/sha256").join(key), errno))?;
    folder.remove()
}

fn write_document(folder: BorrowedFd<'_>, name: &str, document: &impl Serialize) -> Result<()> {
    let io = |cause: std::io::Error| Error::io("write", Path::new(name), cause);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
    let mut file: File = opened.map_err(|errno| io(errno.into()))?.into();
    let text = serde_json::to_vec(document).map_err(|cause| io(cause.into()))?;
    file.write_all(&text).map_err(io)
}

/// A document, or `None` when it is missing or cannot be understood: all of them can be made again.
fn read_document<T: for<'de> Deserialize<'de>>(folder: &OwnedFd, path: &Path) -> Option<T> {
    let file: File =
        openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()).ok()?.into();
    let mut text = Vec::new();
    file.take(MAX_DOCUMENT_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
