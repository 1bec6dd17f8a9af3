//! One conversation with a shim: requests go out whole, replies come in piece by piece so that waiting stays
//! interruptible.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use ctr_spec::{FdRole, ShimReply, ShimRequest};
use ctr_sys::frame::{self, Received, Receiver};
use rustix::event::{PollFd, PollFlags};

use super::interrupt::{Interrupt, wait_ready};
use crate::{Error, ErrorKind, Result};

/// No reply is longer.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// What reading a reply gave.
#[derive(Debug)]
pub enum Incoming {
    /// A reply with its descriptors.
    Reply(Box<ShimReply>, Vec<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The shim closed the connection.
    Closed,
}

/// A connected socket and the reply that is arriving on it.
#[derive(Debug)]
pub struct Connection {
    socket: Arc<OwnedFd>,
    receiver: Receiver,
}

impl Connection {
    /// Takes over a connected stream socket.
    pub fn new(socket: impl Into<OwnedFd>) -> Self {
        Self { socket: Arc::new(socket.into()), receiver: Receiver::new(MAX_REPLY_BYTES) }
    }

    /// The socket, for waiting on it while nobody reads.
    pub fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Sends a request. Kind `ShimLost` when the other side is gone.
    pub fn send(&self, request: &ShimRequest, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let bytes = serde_json::to_vec(request)
            .map_err(|cause| Error::new(ErrorKind::Internal, format!("cannot encode a request: {cause}")))?;
        frame::send(self.socket.as_fd(), &bytes, fds)
            .map_err(|cause| Error::new(ErrorKind::ShimLost, format!("cannot talk to the container's shim: {cause}")))
    }

    /// Reads what is there, without waiting.
    pub fn receive(&mut self) -> Result<Incoming> {
        let broken = |cause: &dyn std::fmt::Display| {
            Error::new(ErrorKind::ShimLost, format!("the container's shim broke the protocol: {cause}"))
        };
        match self.receiver.advance(self.socket.as_fd(), true) {
            Ok(Received::Frame(bytes, fds)) => {
                let reply = serde_json::from_slice(&bytes).map_err(|cause| broken(&cause))?;
                Ok(Incoming::Reply(reply, fds))
            }
            Ok(Received::Incomplete) => Ok(Incoming::Nothing),
            Ok(Received::Closed) => Ok(Incoming::Closed),
            Err(cause) if cause.raw_os_error() == Some(104) => Ok(Incoming::Closed),
            Err(cause) => Err(broken(&cause)),
        }
    }

    /// Waits for one reply; `None` when the deadline passed or the shim closed the connection.
    pub fn reply(
        &mut self,
        deadline: Option<Instant>,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<(ShimReply, Vec<OwnedFd>)>> {
        loop {
            match self.receive()? {
                Incoming::Reply(reply, fds) => return Ok(Some((*reply, fds))),
                Incoming::Closed => return Ok(None),
                Incoming::Nothing => {}
            }
            let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            if !wait_ready(&mut fds, deadline, interrupt)? {
                return Ok(None);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The descriptor of a role among those of a reply.
pub fn take_fd(roles: &[FdRole], fds: Vec<OwnedFd>, wanted: FdRole) -> Option<OwnedFd> {
    roles.iter().zip(fds).find(|(role, _)| **role == wanted).map(|(_, fd)| fd)
}

/// The error for a reply that does not belong to its request.
pub fn unexpected(reply: &ShimReply) -> Error {
    Error::new(ErrorKind::ShimLost, format!("the container's shim broke the protocol: unexpected {reply:?}"))
}

/// The error for a shim that ended without an answer.
pub fn lost() -> Error {
    Error::new(ErrorKind::ShimLost, "the container's shim ended without an answer")
}
