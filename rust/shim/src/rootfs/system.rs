//! `/proc`, `/sys` and `/sys/fs/cgroup`.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::{CgroupVersion, FailureKind};
use ctr_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, Propagation, set_attributes};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::Root;
use super::new_mount::{INERT, attach, copy_of, fresh, refer};
use crate::cgroup::View;
use crate::failure::{Outcome, Step, from_error, refused};

/// A refusal of a system directory says what the image holds there.
pub fn system_target(root: &Root, name: &str, step: &str) -> Outcome<OwnedFd> {
    root.system_directory(name).map_err(|error| {
        let mut failure = from_error(FailureKind::MountFailed, step, &format!("/{name}"), &error);
        if matches!(error.raw_os_error(), Some(20 | 40)) {
            failure.detail = format!("`/{name}` of the image is not a directory");
        }
        failure
    })
}

/// Mounts a new proc instance.
pub fn mount_proc(root: &Root) -> Outcome<()> {
    let step = "mount /proc";
    let target = system_target(root, "proc", step)?;
    let mount = fresh("proc", &[], INERT).step(FailureKind::MountFailed, step, "/proc")?;
    attach(mount.as_fd(), target.as_fd()).step(FailureKind::MountFailed, step, "/proc")
}

/// Mounts sysfs and, on it, what the container may see of its control groups.
pub fn mount_sys(root: &Root, views: &[View], is_writable: bool) -> Outcome<()> {
    let step = "mount /sys";
    let target = system_target(root, "sys", step)?;
    let mut attributes = INERT;
    if !is_writable {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let mount = match fresh("sysfs", &[], attributes) {
        // A network namespace that is not ours: the host's instance is shown instead.
        Err(Errno::PERM) => bind_host_sys(is_writable),
        other => other,
    }
    .step(FailureKind::MountFailed, step, "/sys")?;
    attach(mount.as_fd(), target.as_fd()).step(FailureKind::MountFailed, step, "/sys")?;
    let Ok(directory) = refer(&mount, "fs/cgroup") else { return Ok(()) };
    mount_cgroups(&directory, views, is_writable).step(FailureKind::MountFailed, step, "/sys/fs/cgroup")
}

fn bind_host_sys(is_writable: bool) -> rustix::io::Result<OwnedFd> {
    let source = refer_host("/sys")?;
    let mount = copy_of(source.as_fd(), false)?;
    let read_only = if is_writable { 0 } else { ATTR_RDONLY };
    set_attributes(mount.as_fd(), false, read_only | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC, Propagation::Private)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    Ok(mount)
}

fn refer_host(path: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::OFlags;
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// v2 alone: its cgroup namespace's root. v1 and hybrid: a tmpfs with the container's own group of every hierarchy.
fn mount_cgroups(directory: &OwnedFd, views: &[View], is_writable: bool) -> std::io::Result<()> {
    let mut attributes = INERT;
    if !is_writable {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    if let [View { version: CgroupVersion::V2, .. }] = views {
        let mount = fresh("cgroup2", &[], attributes)?;
        return attach(mount.as_fd(), directory.as_fd());
    }
    if views.is_empty() {
        return Ok(());
    }
    let tmpfs = fresh("tmpfs", &[("mode", "755"), ("size", "64k")], INERT)?;
    attach(tmpfs.as_fd(), directory.as_fd())?;
    let read_only = if is_writable { 0 } else { ATTR_RDONLY };
    for view in views {
        rustix::fs::mkdirat(&tmpfs, &view.hierarchy, Mode::from_raw_mode(0o755))?;
        let source = refer_host(&view.path.to_string_lossy())?;
        let mount = copy_of(source.as_fd(), false)?;
        let flags = read_only | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
        set_attributes(mount.as_fd(), false, flags, Propagation::Private)?;
        attach(mount.as_fd(), refer(&tmpfs, &view.hierarchy)?.as_fd())?;
        for controller in view.controllers.iter().filter(|name| **name != view.hierarchy) {
            if view.version == CgroupVersion::V1 {
                rustix::fs::symlinkat(&view.hierarchy, &tmpfs, controller)?;
            }
        }
    }
    set_attributes(tmpfs.as_fd(), false, read_only, Propagation::Unchanged)
}

/// Writes `/proc/self/oom_score_adj` of the host's `/proc`: to be called before the mounts are the container's.
pub fn set_oom_score_adj(value: i32) -> Outcome<()> {
    use rustix::fs::OFlags;
    let text = value.to_string();
    let step = "set oom_score_adj";
    let opened = rustix::fs::open("/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).step(
        FailureKind::LimitRefused,
        step,
        &text,
    )?;
    match rustix::io::write(opened, text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => {
            Err(refused(FailureKind::LimitRefused, step, &text, "a value below the current one needs CAP_SYS_RESOURCE"))
        }
        Err(error) => Err(error).step(FailureKind::LimitRefused, step, &text),
    }
}
