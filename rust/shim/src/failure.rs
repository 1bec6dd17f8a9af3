//! A failed step, told so that the engine can make a sentence of it.

use std::io;

use ctr_spec::{Failure, FailureKind};

/// What every fallible function of the shim returns.
pub type Outcome<T> = Result<T, Failure>;

/// Names the step in which a call failed.
pub trait Step<T> {
    /// `step` is a verb phrase, `subject` the path or value it was about. A full disk has a kind of its own.
    fn step(self, kind: FailureKind, step: &str, subject: &str) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, kind: FailureKind, step: &str, subject: &str) -> Outcome<T> {
        self.map_err(|error| from_error(kind, step, subject, &error.into()))
    }
}

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// A failure of a call.
pub fn from_error(kind: FailureKind, step: &str, subject: &str, error: &io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(0);
    Failure {
        kind: if errno == ENOSPC || errno == EDQUOT { FailureKind::NoSpace } else { kind },
        step: step.into(),
        errno,
        subject: subject.into(),
        detail: if errno == 0 { error.to_string() } else { String::new() },
    }
}

/// A failure for which no call is to blame.
pub fn refused(kind: FailureKind, step: &str, subject: &str, detail: &str) -> Failure {
    Failure { kind, step: step.into(), errno: 0, subject: subject.into(), detail: detail.into() }
}

/// The exit status that Docker gives a container whose program never ran.
pub fn exit_code_of(failure: &Failure) -> i32 {
    match failure.kind {
        FailureKind::CommandNotFound => 127,
        FailureKind::CommandNotExecutable | FailureKind::BadWorkingDirectory | FailureKind::UnknownUser => 126,
        _ => 128,
    }
}
