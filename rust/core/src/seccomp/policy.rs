//! A system call policy as data, independent of where it came from and of how it is compiled.

use super::syscall_table::TABLE;

/// What the kernel does with a call (`seccomp(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The call is made.
    Allow,
    /// The call is made and written to the audit log.
    Log,
    /// The call fails with this error number.
    Errno(u16),
    /// The thread gets `SIGSYS`.
    Trap,
    /// A tracer is told; without one the call fails with `ENOSYS`.
    Trace(u16),
    /// The calling thread is killed.
    KillThread,
    /// The whole process is killed.
    KillProcess,
}

impl Action {
    /// The filter's return value (`SECCOMP_RET_*`, `linux/seccomp.h`).
    #[must_use]
    pub fn return_value(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(number) => 0x0005_0000 | u32::from(number),
            Self::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }
}

/// How an argument is compared with a check's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `argument != value`
    NotEqual,
    /// `argument < value`
    Less,
    /// `argument <= value`
    LessOrEqual,
    /// `argument == value`
    Equal,
    /// `argument >= value`
    GreaterOrEqual,
    /// `argument > value`
    Greater,
    /// `argument & mask == value`
    MaskedEqual {
        /// The mask.
        mask: u64,
    },
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgCheck {
    /// 0 to 5.
    pub index: u8,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// One action for some system calls, under conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names; those that an architecture does not have are skipped there.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// Conditions; none is always.
    pub checks: Vec<ArgCheck>,
}

/// A whole policy. For one call, rules with conditions are asked first, in order; the first whose conditions hold
/// decides. Then the first rule without conditions decides, then the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For calls without a rule.
    pub default_action: Action,
    /// Architectures whose calls are judged; calls of others kill the process.
    pub arches: Vec<Arch>,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Instruction set of a call; one machine may speak several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86. Its x32 variant is always refused.
    X86_64,
    /// 32-bit x86.
    I386,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// The architecture that this program runs on, if it is one that filters can be made for.
    pub const NATIVE: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else {
        None
    };

    /// `AUDIT_ARCH_*` (`linux/audit.h`).
    #[must_use]
    pub fn audit_value(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of a system call, when this architecture has it.
    #[must_use]
    pub fn syscall_number(self, name: &str) -> Option<u32> {
        let entry = TABLE.get(TABLE.binary_search_by(|entry| entry.0.cmp(name)).ok()?)?;
        let number = match self {
            Self::X86_64 => entry.1,
            Self::I386 => entry.2,
            Self::Aarch64 => entry.3,
        };
        u32::try_from(number).ok()
    }
}

/// Whether the kernel looks only at the low 32 bits of an argument (its type is `int` or `unsigned int`).
///
/// A check of all 64 bits could be passed by a caller that leaves rubbish in the upper half of the register.
#[must_use]
pub fn is_argument_32_bits(name: &str, index: u8) -> bool {
    match name {
        "prctl" | "keyctl" | "arch_prctl" | "seccomp" | "bpf" => index == 0,
        "ioctl" | "fcntl" | "fcntl64" | "epoll_ctl" | "quotactl_fd" | "kill" | "tkill" => index < 2,
        "socket" | "socketpair" | "personality" | "setsockopt" | "getsockopt" | "tgkill" => index < 3,
        "setns" => index == 1,
        _ => false,
    }
}
