//! Output of the container's first process: from its pipes or terminal to the log and to attached clients.
//!
//! Backpressure: while a lossless client does not read, the stream is not read either; what has been read already still
//! goes to the log and to everybody else.

mod line;
mod log;
mod sink;

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::LogSpec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use line::Splitter;
use log::LogFile;
pub use sink::Sink;

/// Bytes taken from a stream at once.
const CHUNK_BYTES: usize = 64 << 10;
/// At the end a stream is emptied; nobody of the container can write any more, but somebody else might hold the pipe.
const FINAL_BYTES: usize = 16 << 20;

/// Which output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard output, or a terminal's output.
    Stdout,
    /// Standard error.
    Stderr,
}

#[derive(Debug)]
struct Source {
    name: StreamName,
    fd: Option<OwnedFd>,
    splitter: Splitter,
    sinks: Vec<Sink>,
}

/// All output streams of a container.
#[derive(Debug)]
pub struct Streams {
    sources: Vec<Source>,
    log: Option<LogFile>,
    buffer: Vec<u8>,
}

impl Streams {
    /// Streams of the given sources; `directory` is where the log file lies.
    pub fn new(sources: Vec<(StreamName, OwnedFd)>, log: &LogSpec, directory: &OwnedFd) -> Self {
        let log = if sources.is_empty() { None } else { LogFile::open(log, directory) };
        let sources = sources
            .into_iter()
            .map(|(name, fd)| Source { name, fd: Some(fd), splitter: Splitter::default(), sinks: Vec::new() })
            .collect();
        Self { sources, log, buffer: Vec::new() }
    }

    /// Copies a stream to a client from now on.
    pub fn add_sink(&mut self, name: StreamName, sink: Sink) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.name == name) {
            source.sinks.push(sink);
        }
    }

    /// Forgets a client.
    pub fn remove_client(&mut self, client: u64) {
        for source in &mut self.sources {
            source.sinks.retain(|sink| sink.client != client);
        }
    }

    /// Whether a client still has to be given something.
    pub fn has_pending(&self, client: u64) -> bool {
        self.sources.iter().flat_map(|source| &source.sinks).any(|sink| sink.client == client && sink.is_pending())
    }

    /// Descriptors to wait for, in a fixed order: see [`Streams::handle`].
    pub fn interests<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> usize {
        let before = fds.len();
        for source in &self.sources {
            if let Some(fd) = source.fd.as_ref().filter(|_| source.wants_input()) {
                fds.push(PollFd::new(fd, PollFlags::IN));
            }
            for sink in source.sinks.iter().filter(|sink| sink.is_pending()) {
                fds.push(PollFd::new(&sink.fd, PollFlags::OUT));
            }
        }
        fds.len() - before
    }

    /// Acts on what [`Streams::interests`] asked for; `ready` are the answers in the same order.
    pub fn handle(&mut self, ready: &[PollFlags]) {
        let mut answers = ready.iter().copied();
        for index in 0..self.sources.len() {
            let source = &mut self.sources[index];
            let is_asked = source.fd.is_some() && source.wants_input();
            let is_readable = is_asked && answers.next().is_some_and(|flags| !flags.is_empty());
            source.sinks.retain_mut(|sink| {
                if !sink.is_pending() {
                    return true;
                }
                match answers.next() {
                    Some(flags) if !flags.is_empty() => sink.write_some(flags),
                    _ => true,
                }
            });
            if is_readable {
                self.take(index);
            }
        }
    }

    /// Reads one chunk; returns how many bytes came.
    fn take(&mut self, index: usize) -> usize {
        let source = &mut self.sources[index];
        let Some(fd) = &source.fd else { return 0 };
        self.buffer.resize(CHUNK_BYTES, 0);
        let count = match rustix::io::read(fd, &mut self.buffer) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return 0,
            // A terminal whose last user is gone answers with EIO.
            Err(_) => 0,
        };
        let bytes = &self.buffer[..count];
        if count == 0 {
            source.fd = None;
        }
        if let Some(log) = &mut self.log {
            let now = crate::clock::unix_ns();
            source.splitter.split(bytes, count == 0, |record| log.append(source.name, record, now));
            log.flush();
        }
        source.sinks.retain_mut(|sink| sink.push(bytes));
        count
    }

    /// Takes what is still in the pipes, without waiting, when every process of the container is gone.
    pub fn finish(&mut self) {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        for index in 0..self.sources.len() {
            let mut taken = 0;
            while taken < FINAL_BYTES {
                let Some(fd) = &self.sources[index].fd else { break };
                let mut waited = [PollFd::new(fd, PollFlags::IN)];
                if !matches!(poll(&mut waited, Some(&at_once)), Ok(1..)) {
                    break;
                }
                for sink in &mut self.sources[index].sinks {
                    sink.is_unbounded = true;
                }
                taken += self.take(index);
            }
            let source = &mut self.sources[index];
            source.fd = None;
            if let Some(log) = &mut self.log {
                let now = crate::clock::unix_ns();
                source.splitter.split(&[], true, |record| log.append(source.name, record, now));
                log.flush();
            }
        }
        self.log = None;
    }

    /// Drops the clients that may lose output.
    pub fn drop_lossy(&mut self) {
        for source in &mut self.sources {
            source.sinks.retain(|sink| sink.is_lossless);
        }
    }
}

impl Source {
    fn wants_input(&self) -> bool {
        !self.sinks.iter().any(Sink::holds_back)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
