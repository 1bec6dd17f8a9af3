//! Plain data that crosses process boundaries: the container specification, the messages between engine and shim, and
//! the records that a shim leaves on disk. No input or output happens here.
//!
//! Every document carries a version; a shim that outlives an upgrade of the engine keeps speaking the version it was
//! started with, and the engine refuses what it does not know.

mod cgroup;
mod container;
mod exec;
mod message;
mod record;

pub use cgroup::{CgroupDir, CgroupPlan, CgroupVersion, CgroupWrite};
pub use container::{
    BindPropagation, ContainerSpec, DeviceRule, DevicesSpec, InjectedFile, LimitsSpec, LogDriver, LogSpec, Lower,
    MountKind, MountSpec, NamespaceMode, NamespacesSpec, ProcessSpec, Rlimit, RootSpec, SeccompSpec, StdioMode,
    UserSpec,
};
pub use exec::ExecSpec;
pub use message::{AttachRequest, FdRole, ShimReply, ShimRequest, StartRequest};
pub use record::{ExecExit, ExitRecord, Failure, FailureKind, StartedRecord};

/// Version of [`ContainerSpec`] and of the shim protocol; raised when a field changes its meaning.
pub const SPEC_VERSION: u32 = 1;

/// Names of the files in a container's directory.
pub mod files {
    /// The [`crate::ContainerSpec`], written when the container is created.
    pub const SPEC: &str = "spec.json";
    /// Open-file-description lock (`F_OFD_SETLK`, write, whole file) held by the shim while it lives.
    pub const LOCK: &str = "lock";
    /// The shim's listening socket.
    pub const SOCKET: &str = "shim.sock";
    /// The [`crate::StartedRecord`], written by the shim when the program was executed.
    pub const STARTED: &str = "started.json";
    /// The [`crate::ExitRecord`], written by the shim when the container ended.
    pub const EXIT: &str = "exit.json";
    /// The log in Docker's json-file form; rotated files have `.1`, `.2` … appended.
    pub const LOG: &str = "container.log";
    /// Overlay upper directory.
    pub const UPPER: &str = "upper";
    /// Overlay work directory.
    pub const WORK: &str = "work";
}
