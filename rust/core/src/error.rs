//! The one error of this crate: a kind for programs, a sentence for people, and what the kernel said.

use std::path::{Path, PathBuf};

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Sorts of failure that callers tell apart. The names are the stable ones that Python sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A system call failed for no reason with a kind of its own.
    Io,
    /// The caller's value is not acceptable.
    InvalidArgument,
    /// Something that should be there is not.
    NotFound,
    /// Something is there that should not be.
    AlreadyExists,
    /// No space left on the device, or a quota was reached.
    NoSpace,
    /// Not allowed to this user.
    PermissionDenied,
    /// The caller cancelled.
    Cancelled,
    /// Time was over.
    TimedOut,
    /// Content does not have the digest that was asked for.
    DigestMismatch,
    /// Content is longer or shorter than was announced.
    SizeMismatch,
    /// A layer archive is malformed.
    MalformedArchive,
    /// A layer archive tries to leave its root or to smuggle metadata.
    HostileArchive,
    /// A limit on unpacked size, number of entries or document size was reached.
    TooLarge,
    /// The registry cannot be reached.
    RegistryUnreachable,
    /// The registry answered with an error status or nonsense.
    RegistryError,
    /// The registry wants credentials, or refused those it got.
    Unauthorized,
    /// The registry does not have what was asked for.
    ManifestUnknown,
    /// The kernel lacks a feature.
    KernelFeatureMissing,
    /// A seccomp profile is malformed.
    BadSeccompProfile,
    /// The shim broke the protocol or died.
    ShimLost,
    /// The container is not running.
    NotRunning,
    /// The container is running already.
    AlreadyRunning,
    /// The container's program does not exist (127).
    CommandNotFound,
    /// The container's program cannot be executed (126).
    CommandNotExecutable,
    /// The user or group is unknown in the container or out of range.
    UnknownUser,
    /// The working directory cannot be used.
    BadWorkingDirectory,
    /// A mount could not be made.
    MountFailed,
    /// The machine refused a limit.
    LimitRefused,
    /// A namespace to be joined is gone.
    NamespaceGone,
    /// A failure that no other kind describes.
    Internal,
}

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Error {
    /// The sort of failure.
    pub kind: ErrorKind,
    /// One sentence without a full stop: what failed, on what, and the kernel's words where it was the kernel.
    pub message: String,
    /// The kernel's error number.
    pub errno: Option<i32>,
    /// The path concerned.
    pub path: Option<PathBuf>,
}

impl Error {
    /// An error that the kernel had no part in.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), errno: None, path: None }
    }

    /// A failed system call: `action` is a verb phrase ("create the layer directory").
    pub fn io(action: &str, path: &Path, cause: impl Into<std::io::Error>) -> Self {
        let cause: std::io::Error = cause.into();
        let kind = match cause.raw_os_error() {
            Some(28 | 122) => ErrorKind::NoSpace,
            Some(1 | 13) => ErrorKind::PermissionDenied,
            Some(2) => ErrorKind::NotFound,
            Some(17) => ErrorKind::AlreadyExists,
            Some(38) => ErrorKind::KernelFeatureMissing,
            _ => ErrorKind::Io,
        };
        Self {
            kind,
            message: format!("cannot {action} `{}`: {cause}", path.display()),
            errno: cause.raw_os_error(),
            path: Some(path.to_path_buf()),
        }
    }

    /// The same error with another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error with a clause before its message.
    #[must_use]
    pub fn context(mut self, clause: &str) -> Self {
        self.message = format!("{clause}: {}", self.message);
        self
    }
}

impl ErrorKind {
    /// Every kind, for completeness tests on the other side of the door.
    pub const ALL: &'static [Self] = &[
        Self::Io,
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::NoSpace,
        Self::PermissionDenied,
        Self::Cancelled,
        Self::TimedOut,
        Self::DigestMismatch,
        Self::SizeMismatch,
        Self::MalformedArchive,
        Self::HostileArchive,
        Self::TooLarge,
        Self::RegistryUnreachable,
        Self::RegistryError,
        Self::Unauthorized,
        Self::ManifestUnknown,
        Self::KernelFeatureMissing,
        Self::BadSeccompProfile,
        Self::ShimLost,
        Self::NotRunning,
        Self::AlreadyRunning,
        Self::CommandNotFound,
        Self::CommandNotExecutable,
        Self::UnknownUser,
        Self::BadWorkingDirectory,
        Self::MountFailed,
        Self::LimitRefused,
        Self::NamespaceGone,
        Self::Internal,
    ];

    /// The stable name: the variant's, in snake case.
    #[must_use]
    pub fn name(self) -> String {
        let mut name = String::new();
        for (index, letter) in format!("{self:?}").chars().enumerate() {
            if letter.is_ascii_uppercase() && index > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case_and_unique() {
        let names: std::collections::HashSet<String> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(names.contains("registry_unreachable"));
    }

    #[test]
    fn a_full_disk_has_its_own_kind() {
        let error = Error::io("write", Path::new("/x"), std::io::Error::from_raw_os_error(28));
        assert_eq!(error.kind, ErrorKind::NoSpace);
        assert!(error.message.starts_with("cannot write `/x`: "));
    }
}
