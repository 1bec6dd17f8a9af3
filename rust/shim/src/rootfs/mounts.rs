//! The mounts that the specification asks for.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::{BindPropagation, FailureKind, MountKind, MountSpec};
use ctr_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, Propagation, set_attributes};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::Root;
use super::new_mount::{attach, copy_of, fresh};
use super::target::{clean, shape_of};
use crate::failure::{Outcome, Step, refused};

/// Files of /proc that only inform; programs like lxcfs give containers their own.
const INFORMING: [&str; 8] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/loadavg",
    "proc/meminfo",
    "proc/slabinfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
];

/// A mount that waits for its target.
#[derive(Debug)]
pub struct Prepared<'a> {
    spec: &'a MountSpec,
    mount: OwnedFd,
}

/// Makes all mounts without attaching them: sources are paths of the host, and shared ones must be copied before this
/// namespace is cut off from the host's.
pub fn prepare(specs: &[MountSpec]) -> Outcome<Vec<Prepared<'_>>> {
    specs.iter().map(|spec| Ok(Prepared { spec, mount: make(spec)? })).collect()
}

fn make(spec: &MountSpec) -> Outcome<OwnedFd> {
    let mut attributes = 0;
    for (is_set, attribute) in [
        (spec.is_readonly, ATTR_RDONLY),
        (spec.no_exec, ATTR_NOEXEC),
        (spec.no_suid, ATTR_NOSUID),
        (spec.no_dev, ATTR_NODEV),
    ] {
        if is_set {
            attributes |= attribute;
        }
    }
    match &spec.kind {
        MountKind::Bind { source, recursive, propagation } => {
            let step = "bind a host path";
            let opened = rustix::fs::openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let mount = opened.and_then(|opened| copy_of(opened.as_fd(), *recursive)).step(
                FailureKind::MountFailed,
                step,
                source,
            )?;
            let propagation = match propagation {
                BindPropagation::Private => Propagation::Private,
                BindPropagation::Slave => Propagation::Slave,
                BindPropagation::Shared => Propagation::Shared,
            };
            set_attributes(mount.as_fd(), *recursive, attributes, propagation).step(
                FailureKind::MountFailed,
                step,
                source,
            )?;
            Ok(mount)
        }
        MountKind::Tmpfs { size_bytes, mode } => {
            let mode = format!("{:o}", mode.unwrap_or(0o1777) & 0o7777);
            let size = size_bytes.map(|bytes| bytes.to_string());
            let mut options = vec![("mode", mode.as_str())];
            if let Some(size) = &size {
                options.push(("size", size));
            }
            let flags = MountAttrFlags::from_bits_truncate(attributes as u32);
            fresh("tmpfs", &options, flags).step(FailureKind::MountFailed, "mount a tmpfs", &spec.target)
        }
    }
}

/// Attaches the prepared mounts in their order.
pub fn attach_all(root: &Root, prepared: Vec<Prepared<'_>>) -> Outcome<()> {
    for Prepared { spec, mount } in prepared {
        let step = "mount over a path of the container";
        if clean(&spec.target).is_empty() {
            return Err(refused(FailureKind::MountFailed, step, &spec.target, "the root itself cannot be a target"));
        }
        let find = || -> std::io::Result<OwnedFd> { root.find_or_make(&spec.target, shape_of(&mount)?) };
        let target = find().step(FailureKind::MountFailed, step, &spec.target)?;
        if !INFORMING.contains(&clean(&spec.target).as_str()) && !is_proc(&mount) {
            refuse_proc(&target, step, &spec.target)?;
        }
        attach(mount.as_fd(), target.as_fd()).step(FailureKind::MountFailed, step, &spec.target)?;
    }
    Ok(())
}

fn is_proc(fd: &OwnedFd) -> bool {
    // `PROC_SUPER_MAGIC`
    rustix::fs::fstatfs(fd).is_ok_and(|status| status.f_type == 0x9fa0)
}

/// Refuses a target that was resolved into procfs, by its name or by a link of the image: what is written there, by the
/// engine or by programs that trust it, must not land in files of somebody's making.
pub fn refuse_proc(target: &OwnedFd, step: &str, path: &str) -> Outcome<()> {
    if is_proc(target) {
        let detail = "it lies in /proc, where nothing can be mounted";
        return Err(refused(FailureKind::MountFailed, step, path, detail));
    }
    Ok(())
}
