//! The supervisor's side of what children report.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ctr_spec::FailureKind;
use ctr_sys::frame::{Received as Frame, Receiver};
use ctr_sys::process::Child;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use super::report::Report;
use crate::failure::{Outcome, Step, refused};

/// Longest report.
const MAX_BYTES: usize = 64 << 10;
/// Most reports of one start: no child has more to say.
const MAX_REPORTS: u32 = 64;
const STEP: &str = "hear from the container's init";

/// What the children's reports came to.
#[derive(Debug, Default)]
pub struct Received {
    /// Warnings in their order.
    pub warnings: Vec<String>,
    /// Descriptors of [`Report::Mounted`].
    pub fds: Vec<OwnedFd>,
    /// Process of [`Report::Inside`].
    pub successor: Option<Child>,
}

/// What a child has reported on its way to the program.
///
/// A process that shares a pid namespace with the container's processes can be stopped or steered by them at any moment,
/// so nothing here waits without an end, and nothing it says is believed that matters.
#[derive(Debug)]
pub struct Handoff {
    channel: OwnedFd,
    receiver: Receiver,
    received: Received,
    count: u32,
    is_ready: bool,
    /// The child that has a successor to tell of.
    predecessor: Option<u32>,
}

impl Handoff {
    /// Listens to the supervisor's end of a channel. With a `predecessor`, another process than this child becomes the
    /// program.
    pub fn new(channel: OwnedFd, predecessor: Option<u32>) -> Self {
        let receiver = Receiver::new(MAX_BYTES);
        Self { channel, receiver, received: Received::default(), count: 0, is_ready: false, predecessor }
    }

    /// Readable when [`Handoff::advance`] has something to do.
    pub fn channel(&self) -> &OwnedFd {
        &self.channel
    }

    /// The process inside of the pid namespace, as soon as it is known.
    pub fn successor(&self) -> Option<&Child> {
        self.received.successor.as_ref()
    }

    /// What was received; the channel is closed.
    pub fn into_received(self) -> Received {
        self.received
    }

    /// Takes what is there, without waiting; true when the program was executed. Fails when a step of the child did.
    pub fn advance(&mut self) -> Outcome<bool> {
        let odd = |detail: &str| Err(refused(FailureKind::Internal, STEP, "", detail));
        loop {
            let frame = self.receiver.advance(self.channel.as_fd(), true).step(FailureKind::Internal, STEP, "")?;
            let (bytes, fds) = match frame {
                Frame::Incomplete => return Ok(false),
                Frame::Closed if self.is_ready => return Ok(true),
                Frame::Closed => {
                    let detail = "it was killed before the program ran; its memory or process limit may be too low";
                    return Err(refused(FailureKind::Internal, "start the container's init", "", detail));
                }
                Frame::Frame(bytes, fds) => (bytes, fds),
            };
            self.count += 1;
            if self.count > MAX_REPORTS {
                return odd("there is no end of reports");
            }
            match serde_json::from_slice(&bytes) {
                Ok(Report::Warning { text }) => self.received.warnings.push(text),
                Ok(Report::Mounted) if self.received.fds.is_empty() => self.received.fds = fds,
                Ok(Report::Inside) => self.take_successor(fds)?,
                Ok(Report::Ready) if self.predecessor.is_none() || self.received.successor.is_some() => {
                    self.is_ready = true;
                }
                Ok(Report::Failed { failure }) => return Err(failure),
                Ok(Report::Mounted | Report::Ready) => return odd("a report came out of its turn"),
                Err(error) => return odd(&error.to_string()),
            }
        }
    }

    /// Checks that this is a child of ours from the predecessor's group, and lets it go on.
    fn take_successor(&mut self, fds: Vec<OwnedFd>) -> Outcome<()> {
        let odd = || refused(FailureKind::Internal, STEP, "", "it told of a process that is not meant");
        let pidfd = fds.into_iter().next().ok_or_else(odd)?;
        let (Some(predecessor), None, Some(pid)) = (self.predecessor, &self.received.successor, pid_of(&pidfd)) else {
            return Err(odd());
        };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), look).map_err(|_| odd())?;
        let group = rustix::process::getpgid(Some(pid)).map_err(|_| odd())?;
        if group.as_raw_nonzero().get() as u32 != predecessor {
            return Err(odd());
        }
        self.received.successor = Some(Child { pid: pid.as_raw_nonzero().get() as u32, pidfd });
        match rustix::io::write(&self.channel, b"s") {
            Ok(_) | Err(Errno::PIPE) => Ok(()),
            Err(error) => Err(error).step(FailureKind::Internal, STEP, ""),
        }
    }

    /// Waits until the program was executed or a step failed, but not longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> Outcome<()> {
        let deadline = Instant::now() + limit;
        while !self.advance()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let detail = "it did not come to run the program in time";
                return Err(refused(FailureKind::Internal, "start the container's init", "", detail));
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut waited = [PollFd::new(&self.channel, PollFlags::IN)];
            // Interrupted or not: what counts is what is there.
            let _ = rustix::event::poll(&mut waited, Some(&timeout));
        }
        Ok(())
    }
}

/// The process behind a pidfd; `None` when it is no pidfd or the process is gone.
fn pid_of(pidfd: &OwnedFd) -> Option<Pid> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    Pid::from_raw(number).filter(|_| number > 0)
}
