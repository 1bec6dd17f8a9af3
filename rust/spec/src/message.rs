//! The protocol between engine and shim.
//!
//! A frame is a 32-bit little-endian length and that many bytes of JSON, on a stream socket; descriptors travel with the
//! first byte of their frame (`SCM_RIGHTS`), in the order that the message's `fds` names.
//!
//! ```text
//! engine                                   shim
//!   │  spawn, control socket is fd 3        │
//!   │ ── Start{request} + fds ────────────► │  makes cgroups, clones init, waits for its execve
//!   │ ◄──────────── Started | Failed ────── │  (after Failed the shim cleans up and ends)
//!   │ ◄──────────── Exited{record} ──────── │  on the control socket, when the container ended
//!
//! client (connects to shim.sock; one request a connection)
//!   │ ── Exec{spec} + fds ────────────────► │
//!   │ ◄── ExecStarted [+ pty] | Failed ──── │
//!   │ ◄── ExecExited ────────────────────── │
//!   │ ── Signal | Resize ─────────────────► │ ◄─► Done | Failed
//!   │ ── Wait ────────────────────────────► │ ◄─► Exited
//!   │ ── Attach + fds ────────────────────► │ ◄─► Attached [+ stdin], then Exited
//! ```
//!
//! An attached client that closes its connection is detached; closing the control socket detaches the starter, and
//! ends neither the container nor an exec.

use serde::{Deserialize, Serialize};

use crate::{CgroupPlan, ContainerSpec, ExecExit, ExecSpec, ExitRecord, Failure};

/// The role of a descriptor that travels with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FdRole {
    /// The container's directory (`O_PATH | O_DIRECTORY`).
    ContainerDir,
    /// The locked lock file.
    Lock,
    /// The directory of everything that is to be deleted, on the same file system as the container's.
    TrashDir,
    /// A classic BPF program (`struct sock_filter` array) for `seccomp(2)`, in a sealed memfd.
    SeccompProgram,
    /// The program's own standard input.
    Stdin,
    /// The program's own standard output.
    Stdout,
    /// The program's own standard error.
    Stderr,
    /// Where the shim copies standard output (or the terminal's output) for an attached client.
    SinkStdout,
    /// Where the shim copies standard error for an attached client.
    SinkStderr,
    /// In replies: the writing end of the program's standard input, or the terminal's master side.
    StdinWriter,
    /// In replies: the master side of an exec's terminal.
    Terminal,
}

/// Start a container: the first and only message on the control socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// [`crate::SPEC_VERSION`].
    pub version: u32,
    /// The container.
    pub spec: ContainerSpec,
    /// Its control groups.
    pub cgroups: CgroupPlan,
    /// The starter is attached from before the first byte of output: sinks are among the descriptors.
    #[serde(default)]
    pub attach: Option<AttachRequest>,
}

/// Attach to the main program's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// The client wants to write to standard input: `StdinWriter` comes back.
    #[serde(default)]
    pub stdin: bool,
    /// The container waits when this client does not read; otherwise the client is dropped when it falls more than
    /// a bounded buffer behind.
    #[serde(default)]
    pub is_lossless: bool,
}

/// From engine or client to shim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ShimRequest {
    /// See [`StartRequest`].
    Start {
        /// The request.
        request: Box<StartRequest>,
        /// Roles of the descriptors sent along.
        fds: Vec<FdRole>,
    },
    /// Run a further process.
    Exec {
        /// What to run.
        spec: Box<ExecSpec>,
        /// Roles of the descriptors sent along: `Stdin`, `Stdout`, `Stderr`; absent ones are `/dev/null`.
        fds: Vec<FdRole>,
        /// System call filter as in the start request is used unless the exec is privileged.
        #[serde(default)]
        detach: bool,
    },
    /// Send a signal to the first process, or to every process of the container.
    Signal {
        /// Signal number.
        signal: i32,
        /// Every process (through the control group) instead of the first one.
        #[serde(default)]
        all: bool,
    },
    /// Copy output to the client from now on.
    Attach {
        /// How.
        request: AttachRequest,
        /// Roles of the descriptors sent along: `SinkStdout`, `SinkStderr`.
        fds: Vec<FdRole>,
    },
    /// Set the size of the main program's terminal.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Answer when the container has ended.
    Wait,
}

/// From shim to engine or client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ShimReply {
    /// The program was executed.
    Started {
        /// Process id on the host.
        pid: u32,
        /// Unix time, nanoseconds.
        started_at_ns: u64,
        /// Sentences about defaults that the machine refused.
        warnings: Vec<String>,
        /// Roles of the descriptors sent along (`StdinWriter`).
        fds: Vec<crate::FdRole>,
    },
    /// The request failed.
    Failed {
        /// Which step and why.
        failure: Failure,
    },
    /// Done.
    Done,
    /// The exec's program was executed.
    ExecStarted {
        /// Process id on the host.
        pid: u32,
        /// Roles of the descriptors sent along (`Terminal`).
        fds: Vec<crate::FdRole>,
    },
    /// The exec ended.
    ExecExited {
        /// How.
        exit: ExecExit,
    },
    /// Attached.
    Attached {
        /// Roles of the descriptors sent along (`StdinWriter`).
        fds: Vec<crate::FdRole>,
    },
    /// The container ended.
    Exited {
        /// How.
        record: ExitRecord,
    },
}
