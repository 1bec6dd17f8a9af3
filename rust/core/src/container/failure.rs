//! Sentences from the records in which a shim tells a failed step.

use ctr_spec::{Failure, FailureKind};

use crate::{Error, ErrorKind};

/// The error that a failure is on this side.
#[must_use]
pub fn error_of(failure: &Failure) -> Error {
    let kind = match failure.kind {
        FailureKind::CommandNotFound => ErrorKind::CommandNotFound,
        FailureKind::CommandNotExecutable => ErrorKind::CommandNotExecutable,
        FailureKind::UnknownUser => ErrorKind::UnknownUser,
        FailureKind::BadWorkingDirectory => ErrorKind::BadWorkingDirectory,
        FailureKind::MountFailed => ErrorKind::MountFailed,
        FailureKind::LimitRefused => ErrorKind::LimitRefused,
        FailureKind::NamespaceGone => ErrorKind::NamespaceGone,
        FailureKind::KernelFeatureMissing => ErrorKind::KernelFeatureMissing,
        FailureKind::NotRunning => ErrorKind::NotRunning,
        FailureKind::BadRequest => ErrorKind::InvalidArgument,
        FailureKind::NoSpace => ErrorKind::NoSpace,
        FailureKind::Internal => ErrorKind::Internal,
    };
    Error { errno: (failure.errno != 0).then_some(failure.errno), ..Error::new(kind, sentence(failure)) }
}

/// One sentence without a full stop.
#[must_use]
pub fn sentence(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::CommandNotFound if !failure.subject.contains('/') => {
            format!("cannot execute `{}`: executable file not found in the container's `PATH`", failure.subject)
        }
        FailureKind::NotRunning if failure.step.is_empty() => "the container is not running".to_owned(),
        _ => step_sentence(failure),
    }
}

fn step_sentence(failure: &Failure) -> String {
    let mut text = format!("cannot {}", if failure.step.is_empty() { "start the container" } else { &failure.step });
    if !failure.subject.is_empty() {
        text.extend([" `", &failure.subject, "`"]);
    }
    // The program's own words are better than the kernel's where it has some.
    match (failure.detail.is_empty(), failure.errno) {
        (true, 0) => {}
        (true, errno) => text.extend([": ", &errno_words(errno)]),
        (false, 0) => text.extend([": ", &failure.detail]),
        (false, errno) => text.extend([": ", &failure.detail, " (", &errno_words(errno), ")"]),
    }
    text
}

/// The kernel's words for an error number, as they stand inside a sentence.
fn errno_words(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind, step: &str, errno: i32, subject: &str, detail: &str) -> Failure {
        Failure { kind, step: step.into(), errno, subject: subject.into(), detail: detail.into() }
    }

    #[test]
    fn failures_become_sentences() {
        use FailureKind::{CommandNotExecutable, CommandNotFound, Internal, MountFailed, NotRunning, UnknownUser};
        for (failure, expected) in [
            (
                failure(CommandNotFound, "execute", 2, "foo", ""),
                "cannot execute `foo`: executable file not found in the container's `PATH`",
            ),
            (failure(CommandNotFound, "execute", 2, "/foo", ""), "cannot execute `/foo`: no such file or directory"),
            (failure(CommandNotExecutable, "execute", 13, "/etc", ""), "cannot execute `/etc`: permission denied"),
            (
                failure(UnknownUser, "find the user", 0, "joe", "not in the container"),
                "cannot find the user `joe`: not in the container",
            ),
            (failure(MountFailed, "mount the overlay", 22, "", ""), "cannot mount the overlay: invalid argument"),
            (
                failure(MountFailed, "bind", 2, "/a", "the source is gone"),
                "cannot bind `/a`: the source is gone (no such file or directory)",
            ),
            (failure(NotRunning, "", 0, "", ""), "the container is not running"),
            (failure(Internal, "", 0, "", ""), "cannot start the container"),
        ] {
            assert_eq!(sentence(&failure), expected);
        }
        let error = error_of(&failure(CommandNotFound, "execute", 2, "foo", ""));
        assert_eq!((error.kind, error.errno), (ErrorKind::CommandNotFound, Some(2)));
    }
}
