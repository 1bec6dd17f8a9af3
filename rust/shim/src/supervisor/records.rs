//! Records on disk: whole or not there, never half.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

/// Writes a record beside its place and renames it there.
pub fn write(directory: &OwnedFd, name: &str, record: &impl Serialize) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    let temporary = format!("{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o644))?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let count = rustix::io::write(&file, rest)?;
        rest = &rest[count..];
    }
    rustix::fs::renameat(directory, &temporary, directory, name)?;
    Ok(())
}
