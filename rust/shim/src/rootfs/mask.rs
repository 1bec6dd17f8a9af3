//! Hiding paths and making paths read-only.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::FailureKind;
use ctr_sys::mount::{ATTR_RDONLY, Propagation, set_attributes};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Root;
use super::dev::Dev;
use super::new_mount::{INERT, attach, copy_of, fresh};
use super::target::{Shape, shape_of};
use crate::failure::{Outcome, Step};

/// Hides paths: directories by an empty read-only tmpfs, files by `/dev/null`. Absent ones are fine.
pub fn hide(root: &Root, dev: &Dev, paths: &[String]) -> Outcome<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let mut cover = || -> std::io::Result<()> {
            let target = match root.find(path) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                other => other?,
            };
            if shape_of(&target)? == Shape::File {
                return attach(dev.null_mount()?.as_fd(), target.as_fd());
            }
            // One empty tmpfs serves them all.
            let mount = match &empty {
                Some(attached) => copy_of(attached.as_fd(), false)?,
                None => fresh("tmpfs", &[("size", "4k")], INERT | MountAttrFlags::MOUNT_ATTR_RDONLY)?,
            };
            attach(mount.as_fd(), target.as_fd())?;
            empty.get_or_insert(mount);
            Ok(())
        };
        cover().step(FailureKind::MountFailed, "mask a path", path)?;
    }
    Ok(())
}

/// Makes paths read-only by mounts of themselves. Absent ones are fine.
pub fn make_readonly(root: &Root, paths: &[String]) -> Outcome<()> {
    for path in paths {
        let cover = || -> std::io::Result<()> {
            let target = match root.find(path) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                other => other?,
            };
            let mount = copy_of(target.as_fd(), true)?;
            set_attributes(mount.as_fd(), true, ATTR_RDONLY, Propagation::Unchanged)?;
            attach(mount.as_fd(), target.as_fd())
        };
        cover().step(FailureKind::MountFailed, "make a path read-only", path)?;
    }
    Ok(())
}
