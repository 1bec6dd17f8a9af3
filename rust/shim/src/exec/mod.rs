//! A further process in the running container: what happens between its clone and its `execve`; see [`handover`].

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ctr_spec::{ExecSpec, FailureKind};
use ctr_sys::namespace;
use rustix::fs::{CWD, Mode, OFlags};

use crate::cgroup::Entrance;
use crate::failure::{Outcome, Step, exit_code_of};
use crate::init::handover;
use crate::init::program::{Program, Standard};
use crate::init::report::{Report, Reporter};
use crate::rootfs::Root;

/// Everything that the child needs.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What to run.
    pub spec: &'a ExecSpec,
    /// The container's first process, whose namespaces are joined.
    pub init: BorrowedFd<'a>,
    /// System call filter.
    pub seccomp: Option<&'a [u8]>,
    /// Standard streams.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// Slave side of the exec's terminal.
    pub terminal: Option<OwnedFd>,
    /// The way into the control groups.
    pub entrance: &'a Entrance,
    /// Where reports go.
    pub reporter: Reporter,
}

/// Runs in the child. Returns its exit status, if at all.
pub fn run(mut plan: Plan<'_>) -> i32 {
    match steps(&mut plan) {
        Ok(never) => match never {},
        Err(failure) => {
            let code = exit_code_of(&failure);
            plan.reporter.send(&Report::Failed { failure }, &[]);
            code
        }
    }
}

fn steps(plan: &mut Plan<'_>) -> Outcome<Infallible> {
    plan.reporter.die_with_supervisor()?;
    if let Some(value) = plan.spec.process.oom_score_adj {
        crate::rootfs::system::set_oom_score_adj(value)?;
    }
    // Of pids for its children alone: nobody in the container sees this process.
    let all =
        namespace::MOUNT | namespace::NETWORK | namespace::IPC | namespace::UTS | namespace::CGROUP | namespace::PID;
    namespace::join(plan.init, all).step(FailureKind::NotRunning, "join the container's namespaces", "")?;
    plan.reporter.join(plan.entrance)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, "/", flags, Mode::empty()).step(FailureKind::Internal, "open the root", "/")?;
    let root = Root { fd };
    let standard = match plan.terminal.take() {
        Some(slave) => Standard::Terminal(slave),
        None => Standard::Streams(plan.streams),
    };
    let program = Program {
        process: &plan.spec.process,
        root: &root,
        seccomp: if plan.spec.is_privileged { None } else { plan.seccomp },
        standard,
        makes_working_directory: false,
        reporter: &plan.reporter,
    };
    handover::run(&program, |identity| program.hand_off(identity))
}

/// The descriptors of streams that were given.
pub fn borrow(streams: &[Option<OwnedFd>; 3]) -> [Option<BorrowedFd<'_>>; 3] {
    [0, 1, 2].map(|index: usize| streams[index].as_ref().map(AsFd::as_fd))
}
