//! The container's root file system, built in its own mount namespace by descriptors.
//!
//! The overlay is attached over the container's directory; everything else is attached beneath it, each target resolved
//! inside the root (see [`target`]); at the end the root is pivoted into and the host's tree is gone.

pub mod dev;
pub mod files;
pub mod mask;
pub mod mounts;
pub mod new_mount;
pub mod overlay;
pub mod shared_memory;
pub mod system;
pub mod target;

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::FailureKind;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::failure::{Outcome, Step};

/// The root of the container: a mount, attached in the init's mount namespace.
#[derive(Debug)]
pub struct Root {
    /// Its top directory.
    pub fd: OwnedFd,
}

/// Cuts every mount of this namespace off from the host's: nothing made from now on is seen there.
pub fn isolate_propagation() -> Outcome<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).step(
        FailureKind::MountFailed,
        "make the mounts private",
        "/",
    )
}

impl Root {
    /// Makes the root the process's own and detaches the host's tree.
    pub fn pivot(&self) -> Outcome<()> {
        let step = "enter the root file system";
        let enter = || -> rustix::io::Result<()> {
            rustix::process::fchdir(&self.fd)?;
            // The old root is stacked on top of the new one, and then taken away.
            rustix::process::pivot_root(".", ".")?;
            rustix::mount::unmount(".", UnmountFlags::DETACH)?;
            rustix::process::chdir("/")
        };
        enter().step(FailureKind::MountFailed, step, "/")
    }

    /// Makes the root itself read-only; what is mounted below stays as it is.
    pub fn make_readonly(&self) -> Outcome<()> {
        use ctr_sys::mount::{ATTR_RDONLY, Propagation, set_attributes};
        set_attributes(self.fd.as_fd(), false, ATTR_RDONLY, Propagation::Unchanged).step(
            FailureKind::MountFailed,
            "make the root read-only",
            "/",
        )
    }
}
