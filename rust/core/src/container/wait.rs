//! `wait`: the end of a container that somebody else started.

use std::path::Path;
use std::time::Duration;

use ctr_spec::{ExitRecord, ShimReply, ShimRequest};

use super::connection::{Connection, unexpected};
use super::directory::ContainerDir;
use super::failure::error_of;
use super::interrupt::{Interrupt, deadline_after, pause};
use crate::{Error, ErrorKind, Result};

/// Between looks at a shim that does not listen yet, or no more.
const MOMENT: Duration = Duration::from_millis(2);

/// The exit record of a running or ended container; `None` when the time is over or it was never started.
///
/// Kind `ShimLost` when its shim died without a record: `repair` makes one. Kind `NotFound` without a directory.
pub fn wait(container_dir: &Path, timeout: Option<Duration>, interrupt: Interrupt<'_>) -> Result<Option<ExitRecord>> {
    let deadline = deadline_after(timeout);
    let directory = ContainerDir::open_existing(container_dir)?;
    loop {
        // The lock is looked at before the records: an ending shim writes first and unlocks then.
        let is_locked = directory.is_locked()?;
        if !is_locked {
            if let Some(record) = directory.exit()? {
                return Ok(Some(record));
            }
            if directory.started()?.is_none() {
                if directory.has_lock_file() {
                    return Ok(None);
                }
                return Err(Error::new(ErrorKind::NotFound, "the container was removed"));
            }
            if !directory.is_locked()? {
                return Err(Error::new(ErrorKind::ShimLost, "the container's shim died"));
            }
        }
        if let Some(socket) = directory.connect()? {
            let mut connection = Connection::new(socket);
            let is_sent = connection.send(&ShimRequest::Wait, &[]).is_ok();
            match if is_sent { connection.reply(deadline, interrupt)? } else { None } {
                Some((ShimReply::Exited { record }, _)) => return Ok(Some(record)),
                Some((ShimReply::Failed { failure }, _)) => return Err(error_of(&failure)),
                Some((other, _)) => return Err(unexpected(&other)),
                None => {}
            }
        } else if let Some(record) = directory.exit()? {
            return Ok(Some(record));
        }
        if !pause(MOMENT, deadline, interrupt)? {
            return Ok(None);
        }
    }
}
