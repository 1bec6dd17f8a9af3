//! Cloning children: into their control groups and namespaces, with a channel for their reports.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ctr_spec::FailureKind;
use ctr_sys::process::{Child, clone_with_pidfd};

use crate::cgroup::Entrance;
use crate::failure::{Outcome, Step};
use crate::init::report::{Handoff, Received, Reporter, channel};

const ENOMEM: i32 = 12;
/// A first process whose program does not run after this long is stuck: in a pid namespace that it shares, others may
/// have stopped it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A child whose program runs.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub child: Child,
    /// What it reported on the way.
    pub received: Received,
}

/// Clones a child and waits until its program was executed; for `body` see [`begin`].
///
/// A child that failed has been reaped on return.
pub fn launch(namespaces: u64, entrance: &Entrance, body: impl Fn(Reporter) -> i32) -> Outcome<Launched> {
    let (child, handoff) = begin(namespaces, entrance, body)?;
    match handoff.wait(START_LIMIT) {
        Ok(received) => Ok(Launched { child, received }),
        Err(failure) => {
            end(&child);
            Err(failure)
        }
    }
}

/// Kills a child and reaps it.
pub fn end(child: &Child) {
    let _ = ctr_sys::process::signal(child.pidfd.as_fd(), 9);
    let _ = exit_status(&child.pidfd, true);
}

/// Clones a child. `body` runs in it and returns its exit status; it must wait until it has joined ([`Reporter::join`])
/// before anything of the container's runs.
pub fn begin(namespaces: u64, entrance: &Entrance, body: impl Fn(Reporter) -> i32) -> Outcome<(Child, Handoff)> {
    let (ours, reporter) = channel()?;
    let cgroup = entrance.v2.as_ref().map(AsFd::as_fd);
    let mut slot = Some((ours, reporter));
    let mut attempt = |into_cgroup: Option<_>| {
        clone_with_pidfd(namespaces, into_cgroup, || {
            let Some((ours, reporter)) = slot.take() else { return 255 };
            // The child's copy of our end would keep the channel alive after our death.
            drop(ours);
            body(reporter)
        })
    };
    let mut joins_v2 = false;
    let cloned = match attempt(cgroup) {
        // No CLONE_INTO_CGROUP (before Linux 5.7), or a group that takes no process this way.
        Err(error) if cgroup.is_some() && error.raw_os_error() != Some(ENOMEM) => {
            joins_v2 = true;
            attempt(None)
        }
        other => other,
    };
    let (ours, reporter) = slot
        .take()
        .ok_or_else(|| crate::failure::refused(FailureKind::Internal, "clone a process", "", "the channel was lost"))?;
    drop(reporter);
    let child = cloned.step(FailureKind::Internal, "clone a process", "")?;
    match join(entrance, joins_v2, child.pid, &ours) {
        Ok(()) => Ok((child, Handoff::new(ours))),
        Err(failure) => {
            end(&child);
            Err(failure)
        }
    }
}

/// Puts the child into the v2 group when the clone could not, and tells it; v1 groups it enters by itself. A child that has ended already
/// says why by itself.
fn join(entrance: &Entrance, joins_v2: bool, pid: u32, channel: &OwnedFd) -> Outcome<()> {
    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;
    let step = "join the control groups";
    let put = |procs: &OwnedFd| match rustix::io::write(procs, pid.to_string().as_bytes()) {
        Ok(_) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error).step(FailureKind::Internal, step, ""),
    };
    if let Some(directory) = entrance.v2.as_ref().filter(|_| joins_v2) {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = rustix::fs::openat(directory, "cgroup.procs", flags, Mode::empty());
        put(&procs.step(FailureKind::Internal, step, "")?)?;
    }
    match rustix::io::write(channel, b"j") {
        Ok(_) | Err(Errno::PIPE) => Ok(()),
        Err(error) => Err(error).step(FailureKind::Internal, step, ""),
    }
}

/// Exit code (128 + signal for a killed process) and signal of an ended child, which is reaped; `None` while it runs.
pub fn exit_status(pidfd: &OwnedFd, waits: bool) -> Option<(i32, Option<i32>)> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let mut options = WaitIdOptions::EXITED;
    if !waits {
        options |= WaitIdOptions::NOHANG;
    }
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(Some(status)) => {
                return Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => (code, None),
                    (None, Some(signal)) => (128 + signal, Some(signal)),
                    (None, None) => (255, None),
                });
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return None,
            Err(_) => return Some((255, None)),
        }
    }
}
