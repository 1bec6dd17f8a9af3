//! `create`: a container's directory, complete when its `spec.json` is there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ctr_spec::{ContainerSpec, SeccompSpec, files};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::ContainerDir;
use super::spec_check;
use crate::{Error, ErrorKind, Result, cgroup, seccomp};

/// Makes `container_dir` with `lock` and `spec.json`, after the specification was checked. `upper/` and `work/` are made by
/// the shim at the first start: the upper has the mode and owner of the image's root.
///
/// A failure leaves nothing behind. Kinds: `AlreadyExists`, `InvalidArgument`, `LimitRefused`, `BadSeccompProfile`,
/// `NoSpace`.
pub fn create(container_dir: &Path, spec_json: &[u8]) -> Result<()> {
    let spec = parse(spec_json)?;
    // A profile or limit that cannot work should be told now, not at the start.
    cgroup::plan(cgroup::host()?, &spec.limits, &spec.devices, &spec.id)?;
    if matches!(spec.seccomp, SeccompSpec::Profile { .. }) {
        seccomp::program_fd(&spec.seccomp, spec.process.capabilities)?;
    }
    let (directory, _lock) = make(container_dir)?;
    // Last: whoever finds a directory without it has found a creation that was cut short.
    directory.put(files::SPEC, spec_json).inspect_err(|_| discard(container_dir))
}

/// Parses and checks a specification.
pub fn parse(spec_json: &[u8]) -> Result<ContainerSpec> {
    let spec: ContainerSpec = serde_json::from_slice(spec_json).map_err(|cause| {
        Error::new(ErrorKind::InvalidArgument, format!("the container specification is malformed: {cause}"))
    })?;
    spec_check::check(&spec)?;
    Ok(spec)
}

/// Makes the directory and what is in it but `spec.json`; returns the open lock file, not locked.
pub fn make(container_dir: &Path) -> Result<(ContainerDir, OwnedFd)> {
    match rustix::fs::mkdir(container_dir, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let message = format!("the container directory `{}` exists already", container_dir.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        Err(cause) => return Err(Error::io("create the container directory", container_dir, cause)),
    }
    fill(container_dir).inspect_err(|_| discard(container_dir))
}

fn fill(container_dir: &Path) -> Result<(ContainerDir, OwnedFd)> {
    let directory = ContainerDir::open_existing(container_dir)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(directory.as_fd(), files::LOCK, flags, Mode::from_raw_mode(0o600))
        .map_err(|cause| Error::io("create", &container_dir.join(files::LOCK), cause))?;
    Ok((directory, lock))
}

/// Takes back what a failed creation made.
fn discard(container_dir: &Path) {
    // A few empty entries of ours; what cannot be removed is found by the next comer.
    let _ = std::fs::remove_dir_all(container_dir);
}
