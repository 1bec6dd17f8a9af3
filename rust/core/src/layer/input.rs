//! Archives that come as a descriptor: a file, a pipe, a socket.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::RawFd;
use std::path::Path;

use super::{ApplyLimits, LayerInfo, LayerStore};
use crate::progress::{Phase, Progress};
use crate::{Error, Result};

/// A reader that tells its progress.
pub struct FileInput<'p> {
    file: File,
    progress: Option<&'p Progress>,
}

impl<'p> FileInput<'p> {
    /// Reads what the descriptor number `fd` reads, from its present position on; `fd` stays the caller's.
    pub fn new(fd: RawFd, progress: Option<&'p Progress>) -> Result<Self> {
        let io =
            |cause: std::io::Error| Error::io("read the archive from descriptor", Path::new(&fd.to_string()), cause);
        let mut file: File = ctr_sys::fds::duplicate(fd).map_err(io)?.into();
        if let Some(progress) = progress {
            let metadata = file.metadata().map_err(io)?;
            if metadata.is_file() {
                progress.set_total(metadata.len().saturating_sub(file.stream_position().unwrap_or(0)));
            }
            progress.set_phase(Phase::Extracting);
        }
        Ok(Self { file, progress })
    }
}

impl Read for FileInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        if let Some(progress) = self.progress {
            progress.advance(count as u64);
        }
        Ok(count)
    }
}

/// Applies the layer archive that `fd` reads; does nothing when the layer is here, and waits when another one is making
/// it.
pub fn apply_fd(
    store: &dyn LayerStore,
    fd: RawFd,
    diff_id: Option<&str>,
    limits: &ApplyLimits,
    progress: Option<&Progress>,
) -> Result<LayerInfo> {
    let set_phase = |phase| progress.into_iter().for_each(|progress| progress.set_phase(phase));
    let _lock = diff_id.map(|diff_id| store.lock_layer(diff_id, progress)).transpose()?;
    if let Some(present) = diff_id.map(|diff_id| store.layer(diff_id)).transpose()?.flatten() {
        set_phase(Phase::AlreadyExists);
        return Ok(present);
    }
    let layer = store.apply_stream(diff_id, &mut FileInput::new(fd, progress)?, limits, progress)?;
    set_phase(Phase::Complete);
    Ok(layer)
}
