//! What a container is: everything that the shim needs to start it, fully resolved by the engine.

use serde::{Deserialize, Serialize};

/// A container, ready to be started. The same bytes go to the shim and to `spec.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// [`crate::SPEC_VERSION`].
    pub version: u32,
    /// 64 lower-case hexadecimal digits.
    pub id: String,
    /// The program that becomes the container's first process.
    pub process: ProcessSpec,
    /// How the program's standard streams are connected.
    pub stdio: StdioMode,
    /// The root file system.
    pub root: RootSpec,
    /// Host name inside the UTS namespace; ignored when the host's namespace is used.
    pub hostname: String,
    /// NIS domain name, when one was asked for.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Mounts in the order in which they are made, after `/proc`, `/dev`, `/sys` and the like.
    #[serde(default)]
    pub mounts: Vec<MountSpec>,
    /// Small files made on a tmpfs of the container's own and bound over their targets (`/etc/hosts` …).
    #[serde(default)]
    pub files: Vec<InjectedFile>,
    /// Size of `/dev/shm`, bytes.
    pub shm_size_bytes: u64,
    /// Which namespaces are the container's own.
    pub namespaces: NamespacesSpec,
    /// Resource limits.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Device access.
    pub devices: DevicesSpec,
    /// System call filter.
    pub seccomp: SeccompSpec,
    /// Paths hidden by an empty read-only tmpfs (directories) or `/dev/null` (files).
    #[serde(default)]
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    #[serde(default)]
    pub readonly_paths: Vec<String>,
    /// `/sys` and `/sys/fs/cgroup` are writable (privileged containers).
    #[serde(default)]
    pub writable_sys: bool,
    /// Run an init of ours as PID 1 that forwards signals and reaps, instead of the program itself.
    #[serde(default)]
    pub init: bool,
    /// Where the output goes.
    pub log: LogSpec,
    /// Time after which the whole container is killed, milliseconds from the program's start.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The shim removes the container's directory when the container ended.
    #[serde(default)]
    pub auto_remove: bool,
}

/// A process: argument vector, environment and credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// Argument vector; the first is looked up in the container's `PATH` unless it has a slash. Never empty.
    pub args: Vec<String>,
    /// `NAME=value` pairs. `HOME` is added from the container's `/etc/passwd` when absent.
    pub env: Vec<String>,
    /// Absolute working directory inside the container; made when missing.
    pub cwd: String,
    /// Who the process runs as.
    #[serde(default)]
    pub user: UserSpec,
    /// Bit mask of capabilities (bit n = capability number n): bounding, permitted and effective sets.
    pub capabilities: u64,
    /// Sets `no_new_privs`.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Resource limits by `setrlimit`.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// `/proc/self/oom_score_adj`, when it is to be set.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// File mode creation mask; 0o022 when absent.
    #[serde(default)]
    pub umask: Option<u32>,
}

/// Who a process runs as, in Docker's `user[:group]` syntax; resolved in the container's own files by the shim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// `""`, `name`, `uid`, `name:group`, `uid:gid` …; empty is root.
    #[serde(default)]
    pub name: String,
    /// Further groups, by name or number.
    #[serde(default)]
    pub additional_groups: Vec<String>,
}

/// One resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// Kernel number (`RLIMIT_NOFILE` = 7 …).
    pub resource: u32,
    /// Name as users know it (`nofile`), for messages.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
    /// An explicit wish fails the start when the kernel refuses it; a default is lowered with a warning.
    pub is_required: bool,
}

/// How the program's standard streams are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", deny_unknown_fields)]
pub enum StdioMode {
    /// The descriptors sent as `Stdin`, `Stdout`, `Stderr` become the program's own (absent ones are `/dev/null`);
    /// nothing is copied and nothing is logged.
    Direct,
    /// Pipes whose output the shim logs and copies to whoever is attached.
    Piped {
        /// Keep a stdin pipe open; otherwise stdin is `/dev/null`.
        open_stdin: bool,
        /// The shim gives its end of the stdin pipe away to the first client that attaches stdin, so that the
        /// client's closing it is the program's end of file.
        stdin_once: bool,
    },
    /// A pseudo terminal in the container's own devpts.
    Terminal {
        /// Initial size, rows.
        rows: u16,
        /// Initial size, columns.
        columns: u16,
    },
}

/// The root file system: read-only lower layers and one writable upper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootSpec {
    /// Topmost layer first, as overlayfs orders them. Never empty.
    pub lowers: Vec<Lower>,
    /// The root is remounted read-only before the program runs.
    #[serde(default)]
    pub is_readonly: bool,
    /// Nobody reads the upper after the container: the overlay is mounted `volatile`.
    #[serde(default)]
    pub is_volatile: bool,
    /// Absolute paths hidden by an empty read-only tmpfs when they exist (the engine's own state in a `host` root).
    #[serde(default)]
    pub hidden_paths: Vec<String>,
}

/// One read-only layer of a root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Lower {
    /// A directory on the host.
    Directory {
        /// Absolute path.
        path: String,
    },
}

/// A mount inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    /// Absolute path inside the container; resolved beneath the root, made when missing.
    pub target: String,
    /// What is mounted.
    pub kind: MountKind,
    /// Read-only.
    #[serde(default)]
    pub is_readonly: bool,
    /// `noexec`.
    #[serde(default)]
    pub no_exec: bool,
    /// `nosuid`.
    #[serde(default)]
    pub no_suid: bool,
    /// `nodev`.
    #[serde(default)]
    pub no_dev: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: String,
        /// Submounts are included (`rbind`).
        recursive: bool,
        /// How later mounts propagate.
        propagation: BindPropagation,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Size limit, bytes; half of the memory when absent.
        size_bytes: Option<u64>,
        /// Mode of its root; 0o1777 when absent.
        mode: Option<u32>,
    },
}

/// Mount propagation of a bind mount (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindPropagation {
    /// `rprivate`
    #[default]
    Private,
    /// `rslave`
    Slave,
    /// `rshared`
    Shared,
}

/// A small file shown to the container at `path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectedFile {
    /// Absolute path inside the container.
    pub path: String,
    /// Content.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
}

/// Where one namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", deny_unknown_fields)]
pub enum NamespaceMode {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another process, named by a pid of the host and its start time, checked through a pidfd.
    Process {
        /// Process id on the host.
        pid: u32,
        /// Field 22 of `/proc/<pid>/stat`, clock ticks; 0 is not checked.
        start_time: u64,
    },
}

/// Namespaces; the mount and cgroup namespaces are always the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespacesSpec {
    /// Process ids.
    #[serde(default)]
    pub pid: NamespaceMode,
    /// Network; a new one has only a loopback device that is up.
    #[serde(default)]
    pub network: NamespaceMode,
    /// System V IPC and POSIX queues.
    #[serde(default)]
    pub ipc: NamespaceMode,
    /// Host name.
    #[serde(default)]
    pub uts: NamespaceMode,
}

/// Resource limits, as asked for; the engine turns them into a [`crate::CgroupPlan`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    /// Bytes of memory.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Bytes of memory plus swap, Docker's meaning; -1 is unlimited; absent with a memory limit is twice the memory.
    #[serde(default)]
    pub memory_swap_bytes: Option<i64>,
    /// CPU bandwidth, microseconds of a period.
    #[serde(default)]
    pub cpu_quota_us: Option<u64>,
    /// CPU bandwidth period, microseconds; 100,000 when absent.
    #[serde(default)]
    pub cpu_period_us: Option<u64>,
    /// Relative weight, 2 to 262,144, Docker's scale.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// CPUs in the kernel's list form (`0-2,5`).
    #[serde(default)]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes in the kernel's list form.
    #[serde(default)]
    pub cpuset_mems: Option<String>,
    /// Number of tasks; absent or -1 is unlimited.
    #[serde(default)]
    pub pids: Option<i64>,
}

/// Device access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicesSpec {
    /// Every device of the host is shown in `/dev` and may be used (privileged).
    pub allow_all: bool,
    /// Rules applied in order after a general denial; ignored when `allow_all`.
    pub rules: Vec<DeviceRule>,
}

/// One device rule (`Documentation/admin-guide/cgroup-v1/devices.rst`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRule {
    /// `c`, `b` or `a`.
    pub kind: char,
    /// Major number; absent is any.
    pub major: Option<u32>,
    /// Minor number; absent is any.
    pub minor: Option<u32>,
    /// Letters of `rwm`.
    pub access: String,
    /// Allow or deny.
    pub allow: bool,
}

/// System call filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", deny_unknown_fields)]
pub enum SeccompSpec {
    /// The built-in profile, for the container's capabilities.
    Default,
    /// No filter.
    Unconfined,
    /// A profile in Docker's JSON form.
    Profile {
        /// The JSON document.
        profile: serde_json::Value,
    },
}

/// Where the output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSpec {
    /// Format.
    pub driver: LogDriver,
    /// A file is rotated before it grows beyond this many bytes; 0 never.
    pub max_size_bytes: u64,
    /// Number of files kept, the current one included.
    pub max_files: u32,
}

/// Log formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Docker's: one JSON object a line with `log`, `stream`, `time`.
    JsonFile,
    /// Nothing is kept.
    None,
}
