//! What a child tells the supervisor while it sets itself up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ctr_spec::{Failure, FailureKind};
use rustix::event::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

use crate::cgroup::Entrance;
use crate::failure::{Outcome, Step, refused};

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
    /// The process that becomes the program was cloned; comes with its pidfd.
    Inside,
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
        self.await_word(step)
    }

    /// Waits for the supervisor's word that it has done its part of a step.
    pub fn await_word(&self, step: &str) -> Outcome<()> {
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

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connected pair: the supervisor's end and the child's.
pub fn channel() -> Outcome<(OwnedFd, Reporter)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.step(FailureKind::Internal, "make the report channel", "")?;
    Ok((ours, Reporter(theirs)))
}
