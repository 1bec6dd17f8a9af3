//! A layer store that keeps each layer as a directory in overlayfs form.
//!
//! ```text
//! layers/sha256/<hex of the diff id>/fs           the files
//!                                    layer.json   what is known of it
//! fixups/sha256/<hex of a chain>/                 see `lowers`
//! stacks/sha256/<hex of a chain>                  answers of `rootfs_lowers`
//! locks/layer-<hex>                               one lock a layer
//! ```

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::apply::{Applied, Options, Purpose, apply};
use super::{ApplyLimits, LayerInfo, LayerLock, LayerStore, lowers, merged, pipeline};
use crate::content::{hex_of, list_digests, mismatch};
use crate::progress::Progress;
use crate::scratch::{Scratch, ScratchFolder, try_lock};
use crate::{Error, ErrorKind, Result};

const RECORD: &str = "layer.json";
const RECORD_VERSION: u32 = 1;
const MAX_RECORD_BYTES: u64 = 64 << 20;
/// Marks implied paths in a record that are not UTF-8.
const ENCODED_PREFIX: &str = "base64:";

/// Layers as directories: `layers/sha256/<hex>/fs` beneath the store's root.
#[derive(Debug)]
pub struct DirectoryStore {
    pub(super) scratch: Arc<Scratch>,
    layers: OwnedFd,
    pub(super) fixups: OwnedFd,
    pub(super) stacks: OwnedFd,
    locks: OwnedFd,
}

/// What is written next to a layer's files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    version: u32,
    #[serde(flatten)]
    pub(super) info: LayerInfo,
    /// Directories that the archive had no entry for; the empty one is the root.
    implied: Vec<String>,
    /// Nothing below this layer is visible.
    pub(super) is_root_opaque: bool,
}

impl LayerRecord {
    fn new(info: LayerInfo, applied: &Applied) -> Self {
        let encode = |path: &Vec<u8>| match std::str::from_utf8(path) {
            Ok(text) if !text.starts_with(ENCODED_PREFIX) => text.to_owned(),
            _ => format!("{ENCODED_PREFIX}{}", BASE64.encode(path)),
        };
        let implied = applied.implied.iter().map(encode).collect();
        Self { version: RECORD_VERSION, info, implied, is_root_opaque: applied.is_root_opaque }
    }

    /// The paths of implied directories.
    pub(super) fn implied(&self) -> Vec<Vec<u8>> {
        let decode = |text: &String| match text.strip_prefix(ENCODED_PREFIX).map(|text| BASE64.decode(text)) {
            Some(Ok(path)) => path,
            _ => text.clone().into_bytes(),
        };
        self.implied.iter().map(decode).collect()
    }
}

impl DirectoryStore {
    /// Opens the store; makes its folders (mode 0700) when missing.
    pub fn open(scratch: Arc<Scratch>) -> Result<Self> {
        let layers = scratch.folder("layers/sha256")?;
        let fixups = scratch.folder("fixups/sha256")?;
        let stacks = scratch.folder("stacks/sha256")?;
        let locks = scratch.folder("locks")?;
        Ok(Self { scratch, layers, fixups, stacks, locks })
    }

    /// What is known of a layer; `None` when it is not here.
    pub(super) fn record(&self, diff_id: &str) -> Result<Option<LayerRecord>> {
        let path = Path::new(hex_of(diff_id)?).join(RECORD);
        let io =
            |cause: std::io::Error| Error::io("read", &self.scratch.root().join("layers/sha256").join(&path), cause);
        let file: File = match openat(&self.layers, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(io(errno.into())),
        };
        let mut text = Vec::new();
        file.take(MAX_RECORD_BYTES).read_to_end(&mut text).map_err(io)?;
        let record: LayerRecord = serde_json::from_slice(&text).map_err(|cause| io(cause.into()))?;
        if record.version != RECORD_VERSION {
            let message = format!("the layer `{diff_id}` was kept by another version of this engine; remove it");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        Ok(Some(record))
    }

    /// The record of a layer that must be here.
    pub(super) fn present_record(&self, diff_id: &str) -> Result<LayerRecord> {
        let missing = || Error::new(ErrorKind::NotFound, format!("the layer `{diff_id}` is not here"));
        self.record(diff_id)?.ok_or_else(missing)
    }

    /// Puts a finished folder in its place, durably.
    fn seal(&self, folder: ScratchFolder, record: &LayerRecord) -> Result<()> {
        let io = |cause: std::io::Error| Error::io("keep the layer in", &folder.path(), cause);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = openat(folder.fd(), RECORD, flags, Mode::RUSR | Mode::WUSR);
        let mut file: File = opened.map_err(|errno| io(errno.into()))?.into();
        let text = serde_json::to_vec(record).map_err(|cause| io(cause.into()))?;
        file.write_all(&text).map_err(io)?;
        // One call for all files: after a power cut a layer is there as a whole or not at all.
        rustix::fs::syncfs(&file).map_err(|errno| io(errno.into()))?;
        if folder.seal(self.layers.as_fd(), hex_of(&record.info.diff_id)?)? {
            return rustix::fs::fsync(&self.layers).map_err(|errno| io(errno.into()));
        }
        // Another one was faster.
        folder.remove()
    }
}

impl LayerStore for DirectoryStore {
    fn apply_stream(
        &self,
        diff_id: Option<&str>,
        reader: &mut (dyn Read + Send),
        limits: &ApplyLimits,
        progress: Option<&Progress>,
    ) -> Result<LayerInfo> {
        if let Some(present) = diff_id.map(|diff_id| self.layer(diff_id)).transpose()?.flatten() {
            return Ok(present);
        }
        let folder = self.scratch.new_folder()?;
        let files = folder.make("fs")?;
        let options = Options {
            purpose: Purpose::Layer,
            max_bytes: limits.max_bytes,
            // With a diff id the digest tells a truncated archive; some writers omit the marker.
            needs_end_marker: diff_id.is_none(),
            progress,
        };
        let work = folder.fd();
        let made = pipeline::run(reader, limits.max_bytes, progress, |source| apply(source, files, work, &options))?;
        if let Some(expected) = diff_id.filter(|expected| *expected != made.diff_id) {
            return Err(mismatch(expected, &made.diff_id).context("the layer is not what its image says"));
        }
        let info = LayerInfo {
            diff_id: made.diff_id,
            archive_bytes: made.archive_bytes,
            disk_bytes: made.value.disk_bytes,
            entries: made.value.entries,
        };
        if let Some(progress) = progress {
            progress.check()?;
        }
        self.seal(folder, &LayerRecord::new(info.clone(), &made.value))?;
        Ok(info)
    }

    fn lock_layer(&self, diff_id: &str, progress: Option<&Progress>) -> Result<LayerLock> {
        const LONGEST_PAUSE: Duration = Duration::from_millis(50);
        let name = format!("layer-{}", hex_of(diff_id)?);
        let mut pause = Duration::from_millis(1);
        loop {
            match try_lock(self.locks.as_fd(), &name) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => {}
                Err(errno) => return Err(Error::io("lock", &self.scratch.root().join("locks").join(&name), errno)),
            }
            if let Some(progress) = progress {
                progress.check()?;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn layer(&self, diff_id: &str) -> Result<Option<LayerInfo>> {
        Ok(self.record(diff_id)?.map(|record| record.info))
    }

    fn layers(&self) -> Result<Vec<String>> {
        list_digests(&self.layers)
    }

    fn remove_layer(&self, diff_id: &str) -> Result<u64> {
        let name = hex_of(diff_id)?;
        // A record that cannot be read must not keep its layer from being removed.
        let freed = self.record(diff_id).ok().flatten().map_or(0, |record| record.info.disk_bytes);
        let is_removed = self.scratch.remove(self.layers.as_fd(), OsStr::new(name))?;
        lowers::forget(self, |chain| chain.iter().any(|member| member == diff_id))?;
        let lock_name = format!("layer-{name}");
        if let Ok(Some(_lock)) = try_lock(self.locks.as_fd(), &lock_name) {
            let _ = rustix::fs::unlinkat(&self.locks, &lock_name, rustix::fs::AtFlags::empty());
        }
        Ok(if is_removed { freed } else { 0 })
    }

    fn rootfs_lowers(&self, diff_ids: &[String]) -> Result<Vec<PathBuf>> {
        lowers::rootfs_lowers(self, diff_ids)
    }

    fn read_rootfs_file(&self, diff_ids: &[String], path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let lowers = lowers::rootfs_lowers(self, diff_ids)?;
        merged::MergedTree::open(&lowers)?.read_file(path, max_bytes)
    }

    fn sweep(&self) -> Result<()> {
        self.scratch.sweep()?;
        let present = self.layers()?;
        lowers::forget(self, |chain| chain.iter().any(|member| present.binary_search(member).is_err()))
    }
}
