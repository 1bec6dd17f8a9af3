//! Messages and the descriptors that travel with them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use ctr_spec::{Failure, FailureKind, FdRole, SPEC_VERSION, ShimReply, ShimRequest, StartRequest};

use crate::failure::refused;

/// Longest start message: a specification with a seccomp profile and many small files.
const MAX_START_BYTES: usize = 16 << 20;
/// How long a shim waits for its container.
const MAX_IDLE_S: i64 = 30;
/// Longest message of a client.
pub const MAX_CLIENT_BYTES: usize = 1 << 20;

/// Descriptors by role; what nobody takes is closed.
#[derive(Debug, Default)]
pub struct Descriptors(Vec<(FdRole, OwnedFd)>);

impl Descriptors {
    /// Pairs roles with descriptors.
    pub fn new(roles: Vec<FdRole>, fds: Vec<OwnedFd>) -> Result<Self, Failure> {
        if roles.len() != fds.len() {
            let detail = format!("{} descriptors were named and {} arrived", roles.len(), fds.len());
            return Err(refused(FailureKind::BadRequest, "read the request", "", &detail));
        }
        Ok(Self(roles.into_iter().zip(fds).collect()))
    }

    /// Takes the first descriptor of a role out.
    pub fn take(&mut self, role: FdRole) -> Option<OwnedFd> {
        let index = self.0.iter().position(|(found, _)| *found == role)?;
        Some(self.0.remove(index).1)
    }
}

/// Waits for the beginning of the start message. A shim that was started in reserve and is not needed ends after a while;
/// whoever sends to it then is told so by the refused send.
pub fn arrives(control: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let is_readable = |timeout: Timespec| loop {
        match poll(&mut [PollFd::from_borrowed_fd(control, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(count) => return count > 0,
            Err(_) => return true,
        }
    };
    is_readable(Timespec { tv_sec: MAX_IDLE_S, tv_nsec: 0 })
        || rustix::net::shutdown(control, rustix::net::Shutdown::Read).is_err()
        // A message that came in between is still there, and is the last.
        || has_data(control)
}

fn has_data(control: BorrowedFd<'_>) -> bool {
    use rustix::net::{RecvFlags, recv};
    recv(control, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(count, _)| count > 0)
}

/// Reads the start message; `None` when the starter went away without one.
pub fn receive_start(control: BorrowedFd<'_>) -> Result<Option<(StartRequest, Descriptors)>, Failure> {
    let bad = |detail: &str| refused(FailureKind::BadRequest, "read the start request", "", detail);
    let received = ctr_sys::frame::recv(control, MAX_START_BYTES).map_err(|error| bad(&error.to_string()))?;
    let Some((bytes, fds)) = received else { return Ok(None) };
    let request = serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
    let ShimRequest::Start { request, fds: roles } = request else {
        return Err(bad("the first message must be a start request"));
    };
    if request.version != SPEC_VERSION || request.spec.version != SPEC_VERSION {
        return Err(bad("the engine speaks another version"));
    }
    if request.spec.process.args.is_empty() {
        return Err(bad("there is no program to run"));
    }
    Ok(Some((*request, Descriptors::new(roles, fds)?)))
}

/// Sends a reply without ever waiting for the client.
pub fn reply(socket: BorrowedFd<'_>, reply: &ShimReply, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(reply)?;
    ctr_sys::frame::send_now(socket, &bytes, fds)
}

/// The whole content of a file that was sent, wherever its offset stands.
pub fn read_whole(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(fd.as_fd())?.st_size as usize;
    let mut bytes = vec![0; size.min(1 << 20)];
    File::from(fd).read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
