//! `--init`: our own PID 1, which forwards signals, reaps, and ends with the program's status.

use std::convert::Infallible;

use ctr_spec::FailureKind;
use rustix::process::WaitOptions;

use super::program::Program;
use super::report::Report;
use crate::failure::{Outcome, Step, exit_code_of};
use crate::users::Identity;

const SIGCHLD: i32 = 17;

/// Starts the prepared program as a child and stays as its init, which may do no more than the program.
pub fn run(program: &Program<'_>, identity: &Identity) -> Outcome<Infallible> {
    // The change of credentials has cleared the wish.
    program.reporter.die_with_supervisor()?;
    let every_signal: Vec<i32> = (1..=64).collect();
    ctr_sys::signals::set_mask(&every_signal);
    let child = ctr_sys::process::clone_with_pidfd(0, None, || match program.hand_off(identity) {
        Ok(never) => match never {},
        Err(failure) => {
            let code = exit_code_of(&failure);
            program.reporter.send(&Report::Failed { failure }, &[]);
            code
        }
    })
    .step(FailureKind::Internal, "start the program beneath init", "")?;
    let main_child = child.pid as i32;
    // The supervisor hears from the program alone, and nobody waits for a stream that only PID 1 holds.
    ctr_sys::fds::close_from(0, false).step(FailureKind::Internal, "close what init does not need", "")?;
    loop {
        let Ok(signal) = ctr_sys::signals::wait_for(&every_signal) else { continue };
        if signal != SIGCHLD {
            let _ = ctr_sys::process::kill(main_child, signal);
            continue;
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == main_child {
                let signalled = status.terminating_signal().map(|signal| 128 + signal);
                ctr_sys::process::exit_now(status.exit_status().or(signalled).unwrap_or(255));
            }
        }
    }
}
