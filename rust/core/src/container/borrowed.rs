//! Descriptors that a caller names by number.

use std::os::fd::{OwnedFd, RawFd};

use crate::{Error, ErrorKind, Result};

/// A copy of a descriptor that stays the caller's. Kind `InvalidArgument` when it is not open.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    ctr_sys::fds::duplicate(fd).map_err(|cause| {
        let message = format!("the descriptor `{fd}` cannot be used: {cause}");
        Error { errno: cause.raw_os_error(), ..Error::new(ErrorKind::InvalidArgument, message) }
    })
}
