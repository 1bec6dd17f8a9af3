//! The overlay of read-only layers and the writable upper directory.

use std::os::fd::OwnedFd;

use ctr_spec::{FailureKind, Lower, RootSpec, files};
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, move_mount,
};

use super::Root;
use super::new_mount::is_unsupported;
use crate::failure::{Outcome, Step, refused};

const STEP: &str = "mount the overlay";

/// Mounts the overlay over the current directory, which is the container's own.
pub fn mount(spec: &RootSpec) -> Outcome<Root> {
    let lowers: Vec<&str> = spec
        .lowers
        .iter()
        .map(|lower| match lower {
            Lower::Directory { path } => path.as_str(),
        })
        .collect();
    let Some(top) = lowers.first() else {
        return Err(refused(FailureKind::BadRequest, STEP, "", "there is no layer"));
    };
    for lower in &lowers {
        rustix::fs::access(*lower, rustix::fs::Access::EXISTS).step(FailureKind::MountFailed, STEP, lower)?;
    }
    make_directories(top).step(FailureKind::Internal, "make the writable layer", files::UPPER)?;
    let fd = match assemble(&lowers, spec.is_volatile, true) {
        // Before Linux 6.7 the layers are one string.
        Err(error) if is_unsupported(error) => assemble(&lowers, spec.is_volatile, false),
        other => other,
    }
    .step(FailureKind::MountFailed, STEP, top)?;
    move_mount(&fd, "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).step(
        FailureKind::MountFailed,
        "attach the root file system",
        "/",
    )?;
    Ok(Root { fd })
}

/// Makes upper and work when the engine did not; the upper's own mode and owner are what the container sees at `/`.
fn make_directories(top: &str) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(CWD, files::UPPER, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            let root = rustix::fs::stat(top)?;
            if root.st_uid != 0 || root.st_gid != 0 {
                let (uid, gid) = (rustix::fs::Uid::from_raw(root.st_uid), rustix::fs::Gid::from_raw(root.st_gid));
                rustix::fs::chownat(CWD, files::UPPER, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            if root.st_mode & 0o7777 != 0o755 {
                rustix::fs::chmod(files::UPPER, Mode::from_raw_mode(root.st_mode & 0o7777))?;
            }
        }
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::mkdirat(CWD, files::WORK, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

fn assemble(lowers: &[&str], is_volatile: bool, one_by_one: bool) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if one_by_one {
        for lower in lowers {
            fsconfig_set_string(&context, "lowerdir+", *lower)?;
        }
    } else {
        let escaped: Vec<String> =
            lowers.iter().map(|lower| lower.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")).collect();
        fsconfig_set_string(&context, "lowerdir", escaped.join(":").as_str())?;
    }
    fsconfig_set_string(&context, "upperdir", files::UPPER)?;
    fsconfig_set_string(&context, "workdir", files::WORK)?;
    if is_volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
