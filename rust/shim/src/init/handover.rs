//! Coming into a pid namespace where others live already.
//!
//! Who is in there with `CAP_SYS_PTRACE` can look through everything that a newcomer has, and steer it. So a process that
//! stays outside joins all the rest, gives up every privilege and every descriptor, and only then clones the one that the
//! others can see. That one is the supervisor's child, and runs nothing before the supervisor knows it.
//!
//! ```text
//! shim                          outside                            inside
//!   │ clone3 ──────────────────► │ joins, prepares, closes            ·
//!   │                             │ clone3(CLONE_PARENT) ─────────────► │
//!   │ ◄──── Inside + pidfd ──────── │ exits                              │
//!   │ ── one byte: the supervisor has it ──────────────────────────► │
//!   │ ◄────────────── Ready, or Failed{failure} ───────────────────── │ execve
//! ```
//!
//! The system call filter is installed outside, with or without `no_new_privs`: inside, the others could make unfiltered
//! calls through the newcomer. A filter therefore has to allow `clone`.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;

use ctr_spec::{Failure, FailureKind};
use ctr_sys::process::{clone_sibling, exit_now};
use rustix::io::Errno;

use super::program::{By, Program};
use super::report::Report;
use super::rlimits;
use crate::failure::{Outcome, Step, exit_code_of, from_error};
use crate::users::Identity;

const STEP: &str = "enter the pid namespace";

/// Prepares the program here and does the `rest` in a new process inside of the pid namespace that this one has joined.
/// Returns only why it could not be prepared.
pub fn run(program: &Program<'_>, rest: impl FnOnce(&Identity) -> Outcome<Infallible>) -> Outcome<Infallible> {
    // A group of its own, by which the supervisor knows the successor. The filter may refuse it later.
    rustix::process::setpgid(None, None).step(FailureKind::Internal, STEP, "")?;
    let identity = program.prepare(By::Successor)?;
    let reporter = program.reporter;
    ctr_sys::fds::close_all_but(reporter.as_fd()).step(FailureKind::KernelFeatureMissing, STEP, "")?;
    // From here on nothing may be dropped: the descriptors are closed already.
    let cloned = clone_sibling(|| {
        let begin = || {
            reporter.await_word(STEP)?;
            rlimits::lower(&program.process.rlimits)?;
            rest(&identity)
        };
        match begin() {
            Ok(never) => match never {},
            Err(failure) => exit_now(tell(program, failure)),
        }
    });
    match cloned {
        Ok(child) => {
            reporter.send(&Report::Inside, &[child.pidfd.as_fd()]);
            exit_now(0)
        }
        Err(error) => exit_now(tell(program, explain(&error, program.seccomp.is_some()))),
    }
}

fn tell(program: &Program<'_>, failure: Failure) -> i32 {
    let code = exit_code_of(&failure);
    program.reporter.send(&Report::Failed { failure }, &[]);
    code
}

fn explain(error: &io::Error, has_filter: bool) -> Failure {
    let (kind, detail) = match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => (FailureKind::LimitRefused, "the limit of processes leaves no room for another"),
        Some(Errno::NOMEM) => (FailureKind::NamespaceGone, "it has come to its end, or there is no memory"),
        _ if has_filter => (FailureKind::BadRequest, "the system call filter must allow `clone`"),
        _ => (FailureKind::Internal, ""),
    };
    Failure { detail: detail.into(), ..from_error(kind, STEP, "", error) }
}
