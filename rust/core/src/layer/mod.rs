//! Layers: applying archives, whiteouts, the store.
//!
//! A layer is keyed by its diff id (the digest of its uncompressed archive) alone and knows nothing of its parents.
//! [`LayerStore`] is the interface; [`DirectoryStore`] keeps a layer as a directory in overlayfs form.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "`ApplyLimits` will have more members")]

use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::progress::Progress;

pub(crate) mod apply;
mod decompress;
mod directory;
pub mod input;
mod lowers;
mod merged;
pub(crate) mod pipeline;
mod tar;

pub use crate::scratch::HeldLock as LayerLock;
pub use directory::DirectoryStore;

/// What is known of a sealed layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// `sha256:…` of the uncompressed archive.
    pub diff_id: String,
    /// Size of the uncompressed archive, bytes.
    pub archive_bytes: u64,
    /// Sum of the sizes of its regular files, bytes.
    pub disk_bytes: u64,
    /// Entries of the archive that were applied.
    pub entries: u64,
}

/// How much an archive may ask for.
#[derive(Clone, Copy, Debug)]
pub struct ApplyLimits {
    /// Greatest size of the uncompressed archive, and of all files together, bytes.
    pub max_bytes: u64,
}

/// A store of sealed layers, safe to use from any number of threads and processes at once.
pub trait LayerStore: Send + Sync {
    /// Unpacks the (possibly gzip or zstd compressed) archive that `reader` yields and seals it as a layer.
    ///
    /// Returns at once, without reading, when `diff_id` is here. Otherwise `reader` is read to its end before the
    /// layer appears, so a reader that checks a digest may fail at its last byte; a [`crate::Error`] inside of its
    /// `io::Error` (`io::Error::other(error)`) comes back unchanged. Takes no lock: hold [`Self::lock_layer`] around it
    /// to do the work once; without it the result is right all the same.
    ///
    /// Kinds: `DigestMismatch`, `MalformedArchive`, `HostileArchive`, `TooLarge`, `NoSpace`, `Cancelled`.
    fn apply_stream(
        &self,
        diff_id: Option<&str>,
        reader: &mut (dyn Read + Send),
        limits: &ApplyLimits,
        progress: Option<&Progress>,
    ) -> Result<LayerInfo>;

    /// Waits until no other thread or process holds the lock of this layer; the lock ends when the value is dropped, or
    /// with the process. Kind `Cancelled` when `progress` asks to stop.
    fn lock_layer(&self, diff_id: &str, progress: Option<&Progress>) -> Result<LayerLock>;

    /// The layer, or `None` when it is not here.
    fn layer(&self, diff_id: &str) -> Result<Option<LayerInfo>>;

    /// The diff ids of every layer.
    fn layers(&self) -> Result<Vec<String>>;

    /// Removes a layer and returns the bytes freed; no error when it is gone.
    fn remove_layer(&self, diff_id: &str) -> Result<u64>;

    /// Directories of an image's layers for overlayfs, topmost first; `diff_ids` are bottom first.
    fn rootfs_lowers(&self, diff_ids: &[String]) -> Result<Vec<PathBuf>>;

    /// A regular file of the merged layers, symbolic links resolved beneath their root; `None` when it is not there.
    /// Kind `TooLarge` when it is longer than `max_bytes`.
    fn read_rootfs_file(&self, diff_ids: &[String], path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// Deletes what killed processes left behind; nothing that a living process still uses.
    fn sweep(&self) -> Result<()>;
}
