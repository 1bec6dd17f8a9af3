//! Counters that a working thread raises and another one reads, and a flag that asks it to stop.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// What a transfer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not begun.
    Waiting = 0,
    /// Bytes are arriving (and being unpacked).
    Downloading = 1,
    /// Everything arrived; the rest is being unpacked and made durable.
    Extracting = 2,
    /// Finished.
    Complete = 3,
    /// It was here already.
    AlreadyExists = 4,
}

/// Shared between one worker and its observer.
#[derive(Debug, Default)]
pub struct Progress {
    current_bytes: AtomicU64,
    total_bytes: AtomicU64,
    phase: AtomicU8,
    cancelled: AtomicBool,
}

impl Progress {
    /// Adds to the bytes done.
    pub fn advance(&self, bytes: u64) {
        self.current_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets the bytes expected.
    pub fn set_total(&self, bytes: u64) {
        self.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Sets the phase.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Bytes done and bytes expected.
    pub fn bytes(&self) -> (u64, u64) {
        (self.current_bytes.load(Ordering::Relaxed), self.total_bytes.load(Ordering::Relaxed))
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            1 => Phase::Downloading,
            2 => Phase::Extracting,
            3 => Phase::Complete,
            4 => Phase::AlreadyExists,
            _ => Phase::Waiting,
        }
    }

    /// Asks the worker to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails when the worker was asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "the operation was cancelled"));
        }
        Ok(())
    }
}
