//! Cloning children: into their control groups and namespaces, with a channel for their reports.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ctr_spec::{Failure, FailureKind};
use ctr_sys::process::{Child, clone_with_pidfd};

use crate::cgroup::Entrance;
use crate::failure::{Outcome, Step};
use crate::init::handoff::{Handoff, Received};
use crate::init::report::{Reporter, channel};

const ENOMEM: i32 = 12;
const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;
/// Killed processes inside of a shared pid namespace are waited for this long: a tracer there can keep their ends.
const REAP_LIMIT: Duration = Duration::from_millis(50);
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

/// Clones a child and waits until its program was executed; for the arguments see [`begin`].
///
/// A child that failed has been reaped on return.
pub fn launch(
    namespaces: u64,
    entrance: &Entrance,
    hands_over: bool,
    body: impl Fn(Reporter) -> i32,
) -> Outcome<Launched> {
    let (child, mut handoff) = begin(namespaces, entrance, hands_over, body)?;
    match handoff.wait(START_LIMIT) {
        Ok(()) => {
            let (child, received) = settle(child, handoff);
            Ok(Launched { child, received })
        }
        Err(failure) => Err(abandon(&child, handoff, failure)),
    }
}

/// After the program was executed: the process that runs it, be it the child or its successor.
fn settle(child: Child, handoff: Handoff) -> (Child, Received) {
    let mut received = handoff.into_received();
    match received.successor.take() {
        Some(successor) => {
            end(&child);
            (successor, received)
        }
        None => (child, received),
    }
}

/// Kills a child that nobody can trace, and reaps it; returns the signal that it died of.
pub fn end(child: &Child) -> Option<i32> {
    let _ = ctr_sys::process::signal(child.pidfd.as_fd(), SIGKILL);
    exit_status(&child.pidfd, true).and_then(|(_, signal)| signal)
}

/// Ends a child whose program does not run, and its successor. Returns the failure, explained by how the child died.
pub fn abandon(child: &Child, handoff: Handoff, failure: Failure) -> Failure {
    let signal = end(child);
    // A successor that we have not heard of yet sees the channel's end instead of our word.
    let successor = handoff.into_received().successor;
    if let Some(successor) = &successor {
        let _ = ctr_sys::process::signal(successor.pidfd.as_fd(), SIGKILL);
    }
    let deadline = Instant::now() + REAP_LIMIT;
    while has_children(child.pid, successor.as_ref()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if signal != Some(SIGSYS) {
        return failure;
    }
    let detail = "the system call filter kills it; it must allow what a start needs, `clone` among it";
    crate::failure::refused(FailureKind::BadRequest, "start a process", "", detail)
}

/// Reaps what can be reaped of a child's group and its successor; whether there is more.
fn has_children(group: u32, successor: Option<&Child>) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let mut ids = vec![WaitId::Pgid(Pid::from_raw(group as i32))];
    ids.extend(successor.map(|child| WaitId::PidFd(child.pidfd.as_fd())));
    ids.into_iter().any(|id| waitid(id, options).is_ok())
}

/// Clones a child. `body` runs in it and returns its exit status; it must wait until it has joined ([`Reporter::join`])
/// before anything of the container's runs. With `hands_over`, it becomes the program by [`crate::init::handover`].
pub fn begin(
    namespaces: u64,
    entrance: &Entrance,
    hands_over: bool,
    body: impl Fn(Reporter) -> i32,
) -> Outcome<(Child, Handoff)> {
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
        Ok(()) => {
            let predecessor = hands_over.then_some(child.pid);
            Ok((child, Handoff::new(ours, predecessor)))
        }
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
