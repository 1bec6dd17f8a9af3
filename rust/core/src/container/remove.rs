//! `remove`: an ended container's directory and control groups.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::directory::{ContainerDir, open_trash};
use super::interrupt::Interrupt;
use crate::{Error, ErrorKind, Result, cgroup};

/// Removes a container that does not run; no error when it is gone already. Kind `AlreadyRunning`.
///
/// A shim that is just ending is waited for. The directory is first renamed into the trash, so that it is either all there
/// or not there; deleting goes on from there, after a crash by the next comer.
pub fn remove(container_dir: &Path, id: &str, trash_dir: &Path, interrupt: Interrupt<'_>) -> Result<()> {
    let lock = match ContainerDir::open(container_dir)? {
        None => None,
        Some(directory) => match directory.lock_when_ended(interrupt) {
            Ok(lock) => Some(lock),
            // Half a creation or half a removal.
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        },
    };
    let machine = cgroup::host()?;
    cgroup::kill_leftovers(machine, id)?;
    cgroup::remove_leftovers(machine, id)?;
    let trash = open_trash(trash_dir)?;
    let mark = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    let name = OsString::from(format!("{id}.{}.{mark}", std::process::id()));
    match rustix::fs::renameat(CWD, container_dir, trash.as_fd(), &name) {
        Ok(()) => {
            ctr_sys::tree::remove_tree(trash.as_fd(), &name)
                .map_err(|cause| Error::io("delete", &trash_dir.join(&name), cause))?;
        }
        Err(Errno::NOENT) => {}
        Err(cause) => return Err(Error::io("move to the trash", container_dir, cause)),
    }
    drop(lock);
    Ok(())
}
