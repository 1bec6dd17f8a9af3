//! One attached client's copy of a stream.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

/// A lossless client that is this far behind stops the stream.
const LOSSLESS_BYTES: usize = 64 << 10;
/// A lossy client that is this far behind is dropped.
const LOSSY_BYTES: usize = 1 << 20;
/// A pipe that is ready takes this much without blocking (`PIPE_BUF`); its mode belongs to the client and is not changed.
const WRITE_BYTES: usize = 4096;

/// A descriptor that output is copied to.
#[derive(Debug)]
pub struct Sink {
    /// Whose it is.
    pub client: u64,
    /// Where to write.
    pub fd: OwnedFd,
    /// The stream waits for this client.
    pub is_lossless: bool,
    /// The container has ended: what is left is kept whatever its size.
    pub is_unbounded: bool,
    is_socket: bool,
    pending: VecDeque<u8>,
}

impl Sink {
    /// A sink with nothing to write yet.
    pub fn new(client: u64, fd: OwnedFd, is_lossless: bool) -> Self {
        let is_socket = rustix::net::sockopt::socket_type(&fd).is_ok();
        Self { client, fd, is_lossless, is_unbounded: false, is_socket, pending: VecDeque::new() }
    }

    /// Whether there is something to write.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the stream has to wait.
    pub fn holds_back(&self) -> bool {
        self.is_lossless && self.pending.len() >= LOSSLESS_BYTES
    }

    /// Takes output; `false` when the client is too far behind.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if !self.is_lossless && !self.is_unbounded && self.pending.len() + bytes.len() > LOSSY_BYTES {
            return false;
        }
        self.pending.extend(bytes);
        true
    }

    /// Writes a little to a descriptor that is ready; `false` when the client is gone.
    pub fn write_some(&mut self, ready: PollFlags) -> bool {
        if !ready.contains(PollFlags::OUT) {
            return false;
        }
        let (front, _) = self.pending.as_slices();
        let part = &front[..front.len().min(WRITE_BYTES)];
        let written = if self.is_socket {
            rustix::net::send(&self.fd, part, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        } else {
            rustix::io::write(&self.fd, part)
        };
        match written {
            Ok(count) => {
                self.pending.drain(..count);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut lossy = Sink::new(1, writer.try_clone().unwrap().into(), false);
        assert!(lossy.push(&vec![0; LOSSY_BYTES]));
        assert!(!lossy.holds_back() && !lossy.push(b"x"));
        let mut lossless = Sink::new(1, writer.into(), true);
        assert!(lossless.push(&vec![0; LOSSLESS_BYTES]) && lossless.holds_back());
        assert!(lossless.write_some(PollFlags::OUT) && !lossless.holds_back() && lossless.is_pending());
    }
}
