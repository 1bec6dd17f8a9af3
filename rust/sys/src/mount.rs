//! `mount_setattr(2)`, which rustix lacks.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::call::check;

/// The mount is read-only.
pub const ATTR_RDONLY: u64 = 0x1;
/// Set-user-ID bits are ignored.
pub const ATTR_NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const ATTR_NODEV: u64 = 0x4;
/// Programs cannot be executed.
pub const ATTR_NOEXEC: u64 = 0x8;

/// Mount propagation (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// As it is.
    Unchanged,
    /// Nothing in, nothing out.
    Private,
    /// In, not out.
    Slave,
    /// Both ways.
    Shared,
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes attributes of the mount whose root `mount` is; with `recursive`, of everything mounted below it too.
///
/// # Errors
/// What `mount_setattr(2)` reported.
pub fn set_attributes(mount: BorrowedFd<'_>, recursive: bool, set: u64, propagation: Propagation) -> io::Result<()> {
    let attributes = MountAttr {
        attr_set: set,
        attr_clr: 0,
        propagation: match propagation {
            Propagation::Unchanged => 0,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a terminated string, the structure is initialised and of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}
