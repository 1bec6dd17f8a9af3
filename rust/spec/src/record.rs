//! What a shim writes down, and how a failed step is told.

use serde::{Deserialize, Serialize};

/// `started.json`: the program was executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedRecord {
    /// [`crate::SPEC_VERSION`].
    pub version: u32,
    /// Process id of the container's first process, on the host.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`, clock ticks since boot.
    pub pid_start_time: u64,
    /// Process id of the shim.
    pub shim_pid: u32,
    /// Unix time, nanoseconds.
    pub started_at_ns: u64,
}

/// `exit.json`: how the container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// [`crate::SPEC_VERSION`].
    pub version: u32,
    /// The program's own status, or 128 + signal.
    pub exit_code: i32,
    /// The signal that ended the program.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The kernel killed a process of the container because its memory limit was reached.
    pub oom_killed: bool,
    /// The container was killed because its `timeout_ms` was over.
    pub timed_out: bool,
    /// Highest memory use of the whole container, bytes.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// CPU time of the whole container, nanoseconds.
    #[serde(default)]
    pub cpu_ns: Option<u64>,
    /// Unix time, nanoseconds; 0 when the program never ran.
    pub started_at_ns: u64,
    /// Unix time, nanoseconds.
    pub finished_at_ns: u64,
    /// Time from start to end on the monotonic clock, nanoseconds.
    pub duration_ns: u64,
    /// Why the program never ran or its supervisor ended early.
    #[serde(default)]
    pub failure: Option<Failure>,
}

/// How an exec ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecExit {
    /// The program's own status, or 128 + signal.
    pub exit_code: i32,
    /// The signal that ended the program.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The exec was killed because its `timeout_ms` was over.
    pub timed_out: bool,
    /// The kernel killed for memory in this container while the exec ran.
    pub oom_killed: bool,
    /// Time from start to end on the monotonic clock, nanoseconds.
    pub duration_ns: u64,
}

/// A step that failed: enough for the other side to make a sentence of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What sort of failure, for programs.
    pub kind: FailureKind,
    /// Name of the step, as a verb phrase: `mount the overlay`, `execute`.
    pub step: String,
    /// The kernel's error number; 0 when the kernel was not involved.
    #[serde(default)]
    pub errno: i32,
    /// The path or value on which it failed.
    #[serde(default)]
    pub subject: String,
    /// A further clause in plain words.
    #[serde(default)]
    pub detail: String,
}

/// Sorts of failure that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program does not exist in the container (exit status 127).
    CommandNotFound,
    /// The program cannot be executed: permission, directory, format, interpreter (exit status 126).
    CommandNotExecutable,
    /// The user or group is unknown in the container or out of range.
    UnknownUser,
    /// The working directory cannot be used.
    BadWorkingDirectory,
    /// A mount could not be made.
    MountFailed,
    /// A limit was refused by the machine.
    LimitRefused,
    /// A namespace to be joined is gone.
    NamespaceGone,
    /// The kernel lacks something.
    KernelFeatureMissing,
    /// The container is not running (exec, signal, attach).
    NotRunning,
    /// The request was malformed or of another version.
    BadRequest,
    /// No space left, or a quota was reached.
    NoSpace,
    /// Anything else.
    Internal,
}
