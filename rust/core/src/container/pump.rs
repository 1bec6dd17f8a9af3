//! Feeds a program's standard input and collects its output, until the shim tells its end.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::ShimReply;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::connection::{Connection, Incoming, lost};
use super::interrupt::{Interrupt, wait_ready};
use crate::{Error, ErrorKind, Result};

/// What an unchanged pipe holds; that much may be written before anyone reads.
const PIPE_BYTES: usize = 64 << 10;
/// Pipes grow to this when their program writes much: fewer wake-ups on both sides.
const LARGE_PIPE_BYTES: usize = 1 << 20;

fn pipe_error(cause: Errno) -> Error {
    Error { errno: Some(cause.raw_os_error()), ..Error::new(ErrorKind::Io, format!("cannot use a pipe: {cause}")) }
}

/// Our end of a pipe never blocks; the program's end is another open file and does.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(pipe_error)
}

fn never_block(fd: &OwnedFd) -> Result<()> {
    rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).map_err(pipe_error)
}

/// Collects what comes out of a pipe.
#[derive(Debug, Default)]
pub struct Capture {
    reader: Option<OwnedFd>,
    bytes: Vec<u8>,
    is_large: bool,
}

impl Capture {
    /// A collector, and the end that the program gets.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let (reader, writer) = pipe()?;
        never_block(&reader)?;
        Ok((Self { reader: Some(reader), ..Self::default() }, writer))
    }

    /// What was collected.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Reads what is there.
    fn advance(&mut self) -> Result<()> {
        while let Some(reader) = &self.reader {
            if self.bytes.capacity() - self.bytes.len() < PIPE_BYTES {
                self.bytes.reserve(self.bytes.len().max(PIPE_BYTES));
            }
            match rustix::io::read(reader, rustix::buffer::spare_capacity(&mut self.bytes)) {
                Ok(0) => self.reader = None,
                Ok(count) if count < PIPE_BYTES => {}
                Ok(_) if self.is_large => {}
                Ok(_) => {
                    self.is_large = true;
                    // Refused beyond the user's share of pipe memory; then it stays small.
                    let _ = rustix::pipe::fcntl_setpipe_size(reader, LARGE_PIPE_BYTES);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(cause) => return Err(pipe_error(cause)),
            }
        }
        Ok(())
    }
}

/// Writes bytes into a pipe as the program takes them.
#[derive(Debug)]
pub struct Feed<'a> {
    writer: Option<OwnedFd>,
    rest: &'a [u8],
}

impl<'a> Feed<'a> {
    /// A feed, and the end that the program gets; without input both are absent. What fits is written at once.
    pub fn new(input: Option<&'a [u8]>) -> Result<(Self, Option<OwnedFd>)> {
        let Some(input) = input else { return Ok((Self { writer: None, rest: &[] }, None)) };
        let (reader, writer) = pipe()?;
        never_block(&writer)?;
        if input.len() > PIPE_BYTES {
            let _ = rustix::pipe::fcntl_setpipe_size(&writer, LARGE_PIPE_BYTES);
        }
        let mut feed = Self { writer: Some(writer), rest: input };
        feed.advance()?;
        Ok((feed, Some(reader)))
    }

    fn advance(&mut self) -> Result<()> {
        while let Some(writer) = &self.writer {
            if self.rest.is_empty() {
                self.writer = None;
                return Ok(());
            }
            match rustix::io::write(writer, self.rest) {
                Ok(count) => self.rest = &self.rest[count..],
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // The program closed its input: its right.
                Err(Errno::PIPE) => self.writer = None,
                Err(cause) => return Err(pipe_error(cause)),
            }
        }
        Ok(())
    }
}

/// Moves bytes until the shim's next message, which is returned; then takes what is still in the pipes without waiting for
/// their end, which a process that outlives its container's first one might keep open.
pub fn pump(
    connection: &mut Connection,
    feed: &mut Feed<'_>,
    captures: [&mut Capture; 2],
    interrupt: Interrupt<'_>,
) -> Result<ShimReply> {
    let [first, second] = captures;
    loop {
        {
            let mut fds = Vec::with_capacity(4);
            fds.push(PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN));
            for reader in [&first.reader, &second.reader].into_iter().flatten() {
                fds.push(PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN));
            }
            fds.extend(feed.writer.iter().map(|writer| PollFd::from_borrowed_fd(writer.as_fd(), PollFlags::OUT)));
            wait_ready(&mut fds, None, interrupt)?;
        }
        // The message is looked at first: what was written before it is in the pipes by then.
        let incoming = connection.receive()?;
        feed.advance()?;
        first.advance()?;
        second.advance()?;
        match incoming {
            Incoming::Reply(reply, _) => return Ok(*reply),
            Incoming::Closed => return Err(lost()),
            Incoming::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::container::never;

    #[test]
    fn input_and_output_flow_without_deadlock() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = vec![b'x'; 5 << 20];
        let (mut feed, reader) = Feed::new(Some(&input)).unwrap();
        let (mut out, out_writer) = Capture::new().unwrap();
        let (mut err, err_writer) = Capture::new().unwrap();
        let program = std::thread::spawn(move || {
            let (mut reader, mut writer) = (std::fs::File::from(reader.unwrap()), std::fs::File::from(out_writer));
            let mut buffer = vec![0; 10_000];
            loop {
                let count = reader.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                writer.write_all(&buffer[..count]).unwrap();
            }
            std::fs::File::from(err_writer.try_clone().unwrap()).write_all(b"end").unwrap();
            ctr_sys::frame::send(theirs.as_fd(), br#"{"type":"done"}"#, &[]).unwrap();
            err_writer
        });
        let reply = pump(&mut Connection::new(ours), &mut feed, [&mut out, &mut err], &mut never()).unwrap();
        assert_eq!(reply, ShimReply::Done);
        assert_eq!(out.into_bytes(), input);
        assert_eq!(err.into_bytes(), b"end", "an end that stays open does not hang");
        drop(program.join().unwrap());
    }

    #[test]
    fn a_closed_input_is_no_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = vec![0; 1 << 22];
        let (mut feed, reader) = Feed::new(Some(&input)).unwrap();
        drop(reader);
        let (mut out, _) = Capture::new().unwrap();
        let (mut err, _) = Capture::new().unwrap();
        drop(theirs);
        let error = pump(&mut Connection::new(ours), &mut feed, [&mut out, &mut err], &mut never()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ShimLost);
    }
}
