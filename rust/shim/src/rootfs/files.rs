//! Small files of the engine's making (`/etc/hosts` …), shown from a tmpfs of the container's own.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::{FailureKind, InjectedFile, files::WORK};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::Root;
use super::mounts::refuse_proc;
use super::new_mount::{attach, copy_of_entry, fresh, refer};
use super::target::Shape;
use crate::failure::{Outcome, Step};

/// Makes the files and shows each at its path. The image's own files stay untouched beneath.
pub fn inject(root: &Root, files: &[InjectedFile]) -> Outcome<()> {
    if files.is_empty() {
        return Ok(());
    }
    let step = "make the container's own files";
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let prepare = || -> std::io::Result<_> {
        let tmpfs = fresh("tmpfs", &[("mode", "755"), ("size", "16m")], attributes)?;
        // Copies can be taken of attached mounts only. This place is on the host's side and gone after the pivot.
        attach(tmpfs.as_fd(), refer(CWD, WORK)?.as_fd())?;
        Ok(tmpfs)
    };
    let tmpfs = prepare().step(FailureKind::MountFailed, step, "")?;
    for (index, file) in files.iter().enumerate() {
        let name = index.to_string();
        let make = || -> std::io::Result<OwnedFd> {
            let mode = Mode::from_raw_mode(file.mode & 0o7777);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&tmpfs, &name, flags, mode)?;
            let mut content = file.content.as_bytes();
            while !content.is_empty() {
                let count = rustix::io::write(&opened, content)?;
                content = &content[count..];
            }
            rustix::fs::chmodat(&tmpfs, &name, mode, AtFlags::empty())?;
            root.find_or_make(&file.path, Shape::File)
        };
        let target = make().step(FailureKind::MountFailed, step, &file.path)?;
        refuse_proc(&target, step, &file.path)?;
        let show = || attach(copy_of_entry(tmpfs.as_fd(), &name)?.as_fd(), target.as_fd());
        show().step(FailureKind::MountFailed, step, &file.path)?;
    }
    Ok(())
}
