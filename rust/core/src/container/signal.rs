//! `signal` and `resize`: requests that are answered at once.

use std::path::Path;
use std::time::Duration;

use ctr_spec::{ShimReply, ShimRequest};

use super::connection::unexpected;
use super::exec::connect;
use super::failure::error_of;
use super::interrupt::{deadline_after, never};
use crate::{Error, ErrorKind, Result};

const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// The kernel's highest signal number.
const MAX_SIGNAL: i32 = 64;

/// Sends a signal to the container's first process, or to every one of its processes. Kind `NotRunning`.
pub fn signal(container_dir: &Path, signal: i32, everyone: bool) -> Result<()> {
    if !(1..=MAX_SIGNAL).contains(&signal) {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("`{signal}` is not a signal")));
    }
    request(container_dir, &ShimRequest::Signal { signal, all: everyone })
}

/// Sets the size of the container's terminal. Kind `NotRunning`.
pub fn resize(container_dir: &Path, rows: u16, columns: u16) -> Result<()> {
    request(container_dir, &ShimRequest::Resize { rows, columns })
}

fn request(container_dir: &Path, request: &ShimRequest) -> Result<()> {
    let gone = || Error::new(ErrorKind::NotRunning, "the container is not running");
    let mut connection = connect(container_dir)?;
    // A shim that ends between the connection and its answer has nothing to signal any more.
    connection.send(request, &[]).map_err(|_| gone())?;
    match connection.reply(deadline_after(Some(REPLY_TIMEOUT)), &mut never())? {
        Some((ShimReply::Done, _)) => Ok(()),
        Some((ShimReply::Failed { failure }, _)) => Err(error_of(&failure)),
        Some((other, _)) => Err(unexpected(&other)),
        None => Err(gone()),
    }
}
