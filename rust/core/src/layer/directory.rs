//! A layer store that keeps each layer as a directory in overlayfs form.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{ApplyLimits, LayerInfo, LayerStore};
use crate::progress::Progress;
use crate::{Error, ErrorKind, Result};

/// The right to make one layer; ends when dropped.
#[derive(Debug)]
pub struct LayerLock {
    _file: OwnedFd,
}

/// Layers as directories: `layers/sha256/<hex>/fs` beneath the store's root.
#[derive(Debug)]
pub struct DirectoryStore {
    _root: PathBuf,
}

impl DirectoryStore {
    /// Opens the store; makes its folders (mode 0700) when missing.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { _root: root.to_path_buf() })
    }
}

fn unfinished<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Internal, "the layer store is being built"))
}

impl LayerStore for DirectoryStore {
    fn apply_stream(
        &self,
        _diff_id: Option<&str>,
        _reader: &mut (dyn Read + Send),
        _limits: &ApplyLimits,
        _progress: Option<&Progress>,
    ) -> Result<LayerInfo> {
        unfinished()
    }

    fn lock_layer(&self, _diff_id: &str, _progress: Option<&Progress>) -> Result<LayerLock> {
        unfinished()
    }

    fn layer(&self, _diff_id: &str) -> Result<Option<LayerInfo>> {
        unfinished()
    }

    fn layers(&self) -> Result<Vec<String>> {
        unfinished()
    }

    fn remove_layer(&self, _diff_id: &str) -> Result<u64> {
        unfinished()
    }

    fn rootfs_lowers(&self, _diff_ids: &[String]) -> Result<Vec<PathBuf>> {
        unfinished()
    }

    fn read_rootfs_file(&self, _diff_ids: &[String], _path: &str, _max_bytes: u64) -> Result<Option<Vec<u8>>> {
        unfinished()
    }

    fn sweep(&self) -> Result<()> {
        unfinished()
    }
}
