//! Frames on a stream socket: a 32-bit little-endian length, that many bytes, descriptors with the first byte.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::call::retry;

/// Most descriptors that travel with one frame.
pub const MAX_FDS: usize = 16;
const HEADER_BYTES: usize = 4;

/// Sends one frame and waits until all of it was taken. Works on sockets in either blocking mode; a closed peer is an
/// `EPIPE`, never a signal.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_FDS`] descriptors or 4 GiB; else what `sendmsg(2)` reported.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let message = encode(bytes, fds)?;
    let mut sent = 0;
    while sent < message.len() {
        match send_part(socket, &message[sent..], if sent == 0 { fds } else { &[] }, SendFlags::empty()) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_until_writable(socket)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends one frame without ever waiting; for a server that must not be stalled by a client.
///
/// # Errors
/// `WouldBlock` when the socket's buffer cannot take the whole frame: the connection is then of no more use.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let message = encode(bytes, fds)?;
    let mut sent = 0;
    while sent < message.len() {
        sent += send_part(socket, &message[sent..], if sent == 0 { fds } else { &[] }, SendFlags::DONTWAIT)?;
    }
    Ok(())
}

fn encode(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one frame"));
    }
    let mut message = Vec::with_capacity(HEADER_BYTES + bytes.len());
    message.extend_from_slice(&length.to_le_bytes());
    message.extend_from_slice(bytes);
    Ok(message)
}

fn send_part(socket: BorrowedFd<'_>, part: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    retry(|| {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        Ok(rustix::net::sendmsg(socket, &[IoSlice::new(part)], &mut control, SendFlags::NOSIGNAL | flags)?)
    })
}

fn wait_until_writable(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut waited = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
    retry(|| Ok(rustix::event::poll(&mut waited, None)?)).map(drop)
}

/// Receives one frame, waiting for it; `None` when the peer closed the connection before a frame began.
///
/// # Errors
/// `InvalidData` for a frame longer than `max_len` or too many descriptors, `UnexpectedEof` for a frame cut short, else
/// what `recvmsg(2)` reported.
pub fn recv(socket: BorrowedFd<'_>, max_len: usize) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut receiver = Receiver::new(max_len);
    loop {
        match receiver.advance(socket, false)? {
            Received::Frame(bytes, fds) => return Ok(Some((bytes, fds))),
            Received::Closed => return Ok(None),
            Received::Incomplete => {
                let mut waited = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)];
                retry(|| Ok(rustix::event::poll(&mut waited, None)?))?;
            }
        }
    }
}

/// What [`Receiver::advance`] got.
#[derive(Debug)]
pub enum Received {
    /// A whole frame and its descriptors, all close-on-exec.
    Frame(Vec<u8>, Vec<OwnedFd>),
    /// Nothing more can be read now.
    Incomplete,
    /// The peer closed the connection between frames.
    Closed,
}

/// Receives one frame piece by piece, for an event loop.
#[derive(Debug)]
pub struct Receiver {
    max_len: usize,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    body: Vec<u8>,
    body_len: usize,
    fds: Vec<OwnedFd>,
}

impl Receiver {
    /// A receiver of frames of at most `max_len` bytes.
    #[must_use]
    pub fn new(max_len: usize) -> Self {
        Self { max_len, header: [0; HEADER_BYTES], header_len: 0, body: Vec::new(), body_len: 0, fds: Vec::new() }
    }

    /// Reads what is there; waits for it unless `without_waiting` (or the socket does not block).
    ///
    /// # Errors
    /// As [`recv`]; after an error the connection is of no more use.
    pub fn advance(&mut self, socket: BorrowedFd<'_>, without_waiting: bool) -> io::Result<Received> {
        loop {
            let in_header = self.header_len < HEADER_BYTES;
            let target = if in_header { &mut self.header[self.header_len..] } else { &mut self.body[self.body_len..] };
            if !target.is_empty() {
                let count = match recv_part(socket, target, &mut self.fds, without_waiting) {
                    Ok(0) if self.header_len == 0 => return Ok(Received::Closed),
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Incomplete),
                    Err(error) => return Err(error),
                };
                if self.fds.len() > MAX_FDS {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors in one frame"));
                }
                if in_header {
                    self.header_len += count;
                } else {
                    self.body_len += count;
                }
            }
            if in_header && self.header_len == HEADER_BYTES {
                let length = u32::from_le_bytes(self.header) as usize;
                if length > self.max_len {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
                }
                self.body = vec![0; length];
                self.body_len = 0;
            }
            if self.header_len == HEADER_BYTES && self.body_len == self.body.len() {
                self.header_len = 0;
                self.body_len = 0;
                return Ok(Received::Frame(std::mem::take(&mut self.body), std::mem::take(&mut self.fds)));
            }
        }
    }
}

fn recv_part(
    socket: BorrowedFd<'_>,
    target: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    without_waiting: bool,
) -> io::Result<usize> {
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if without_waiting {
        flags |= RecvFlags::DONTWAIT;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    retry(|| {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(target)], &mut control, flags)?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                fds.extend(received);
            }
        }
        if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors of the frame were lost"));
        }
        Ok(message.bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_carry_bytes_and_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(left.as_fd(), b"one", &[writer.as_fd()]).unwrap();
        send(left.as_fd(), b"", &[]).unwrap();
        drop(writer);
        let (bytes, fds) = recv(right.as_fd(), 10).unwrap().unwrap();
        assert_eq!(bytes, b"one");
        assert_eq!(fds.len(), 1);
        assert!(rustix::io::fcntl_getfd(&fds[0]).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        std::fs::File::from(fds.into_iter().next().unwrap()).write_all(b"x").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        let (bytes, fds) = recv(right.as_fd(), 10).unwrap().unwrap();
        assert!(bytes.is_empty() && fds.is_empty());
        drop(left);
        assert!(recv(right.as_fd(), 10).unwrap().is_none());
    }

    #[test]
    fn long_and_short_frames_are_errors() {
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(&11u32.to_le_bytes()).unwrap();
        assert_eq!(recv(right.as_fd(), 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(&5u32.to_le_bytes()).unwrap();
        left.write_all(b"ab").unwrap();
        drop(left);
        assert_eq!(recv(right.as_fd(), 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_frame_larger_than_the_socket_buffer_arrives() {
        let (left, right) = UnixStream::pair().unwrap();
        let sent = vec![7u8; 3 << 20];
        let copy = sent.clone();
        let thread = std::thread::spawn(move || send(left.as_fd(), &copy, &[]).unwrap());
        assert_eq!(recv(right.as_fd(), 4 << 20).unwrap().unwrap().0, sent);
        thread.join().unwrap();
    }

    #[test]
    fn an_event_loop_gets_a_frame_in_pieces_and_is_never_stalled() {
        let (mut left, right) = UnixStream::pair().unwrap();
        let mut receiver = Receiver::new(10);
        assert!(matches!(receiver.advance(right.as_fd(), true).unwrap(), Received::Incomplete));
        left.write_all(&[3, 0]).unwrap();
        assert!(matches!(receiver.advance(right.as_fd(), true).unwrap(), Received::Incomplete));
        left.write_all(&[0, 0, b'a', b'b']).unwrap();
        assert!(matches!(receiver.advance(right.as_fd(), true).unwrap(), Received::Incomplete));
        left.write_all(b"c").unwrap();
        assert!(matches!(receiver.advance(right.as_fd(), true).unwrap(), Received::Frame(bytes, _) if bytes == b"abc"));
        assert_eq!(send_now(right.as_fd(), &vec![0; 8 << 20], &[]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
