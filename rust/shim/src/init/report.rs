//! What a child tells the supervisor while it sets itself up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ctr_spec::{Failure, FailureKind};
use ctr_sys::frame::{Received as Frame, Receiver};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};

use crate::cgroup::Entrance;
use crate::failure::{Outcome, Step, refused};

/// Longest report.
const MAX_BYTES: usize = 64 << 10;

/// One message from a child.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// A default that the machine refused.
    Warning {
        /// One sentence.
        text: String,
    },
    /// The root is built; comes with the container's devpts and, for a terminal, master and slave.
    Mounted,
    /// The next thing is the `execve`.
    Ready,
    /// A step failed.
    Failed {
        /// Which and why.
        failure: Failure,
    },
}

/// The child's end; closed by `execve`.
#[derive(Debug)]
pub struct Reporter(OwnedFd);

impl Reporter {
    /// Tells the supervisor. When that is gone, there is nobody to tell, and death is on its way.
    pub fn send(&self, report: &Report, fds: &[BorrowedFd<'_>]) {
        if let Ok(bytes) = serde_json::to_vec(report) {
            let _ = ctr_sys::frame::send(self.0.as_fd(), &bytes, fds);
        }
    }

    /// Enters the v1 groups, and waits for the supervisor's word that this process is in the v2 one. For a process of a
    /// single thread.
    pub fn join(&self, entrance: &Entrance) -> Outcome<()> {
        let step = "join the control groups";
        for tasks in &entrance.v1 {
            // 0 is whoever writes.
            rustix::io::write(tasks, b"0").step(FailureKind::Internal, step, "")?;
        }
        let mut byte = [0u8];
        loop {
            match rustix::io::read(&self.0, &mut byte) {
                Ok(1) => return Ok(()),
                Ok(_) => return Err(refused(FailureKind::Internal, step, "", "the supervisor is gone")),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).step(FailureKind::Internal, step, ""),
            }
        }
    }

    /// Asks the kernel to kill this process when the supervisor dies, and makes sure that it has not died already.
    /// Needed again after every change of credentials, which clears the wish.
    pub fn die_with_supervisor(&self) -> Outcome<()> {
        let step = "tie the container to its supervisor";
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).step(
            FailureKind::Internal,
            step,
            "",
        )?;
        let mut waited = [PollFd::new(&self.0, PollFlags::empty())];
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut waited, Some(&zero)).step(FailureKind::Internal, step, "")?;
        if waited[0].revents().contains(PollFlags::HUP) {
            return Err(refused(FailureKind::Internal, step, "", "the supervisor is gone"));
        }
        Ok(())
    }
}

/// A connected pair: the supervisor's end and the child's.
pub fn channel() -> Outcome<(OwnedFd, Reporter)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.step(FailureKind::Internal, "make the report channel", "")?;
    Ok((ours, Reporter(theirs)))
}

/// What the children's reports came to.
#[derive(Debug, Default)]
pub struct Received {
    /// Warnings in their order.
    pub warnings: Vec<String>,
    /// Descriptors of [`Report::Mounted`].
    pub fds: Vec<OwnedFd>,
}

/// The supervisor's side: what a child has reported on its way to the program.
///
/// A child that shares a pid namespace with the container's processes can be stopped by them at any moment, so nothing
/// here waits without an end.
#[derive(Debug)]
pub struct Handoff {
    channel: OwnedFd,
    receiver: Receiver,
    received: Received,
    is_ready: bool,
}

impl Handoff {
    /// Listens to the supervisor's end of a [`channel`].
    pub fn new(channel: OwnedFd) -> Self {
        Self { channel, receiver: Receiver::new(MAX_BYTES), received: Received::default(), is_ready: false }
    }

    /// Readable when [`Handoff::advance`] has something to do.
    pub fn channel(&self) -> &OwnedFd {
        &self.channel
    }

    /// Takes what is there, without waiting; true when the program was executed. Fails when a step of the child did.
    pub fn advance(&mut self) -> Outcome<bool> {
        let step = "hear from the container's init";
        loop {
            let frame = self.receiver.advance(self.channel.as_fd(), true).step(FailureKind::Internal, step, "")?;
            let (bytes, fds) = match frame {
                Frame::Incomplete => return Ok(false),
                Frame::Closed if self.is_ready => return Ok(true),
                Frame::Closed => {
                    let detail = "it was killed before the program ran; its memory or process limit may be too low";
                    return Err(refused(FailureKind::Internal, "start the container's init", "", detail));
                }
                Frame::Frame(bytes, fds) => (bytes, fds),
            };
            match serde_json::from_slice(&bytes) {
                Ok(Report::Warning { text }) => self.received.warnings.push(text),
                Ok(Report::Mounted) => self.received.fds = fds,
                Ok(Report::Ready) => self.is_ready = true,
                Ok(Report::Failed { failure }) => return Err(failure),
                Err(error) => return Err(refused(FailureKind::Internal, step, "", &error.to_string())),
            }
        }
    }

    /// Waits until the program was executed or a step failed, but not longer than `limit`.
    pub fn wait(mut self, limit: Duration) -> Outcome<Received> {
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
        Ok(self.received)
    }
}
