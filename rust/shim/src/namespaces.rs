//! Which namespaces are made, joined or kept.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::{FailureKind, NamespaceMode, NamespacesSpec};
use ctr_sys::namespace;
use rustix::process::{Pid, PidfdFlags};

use crate::failure::{Outcome, Step, refused};

/// Namespaces, resolved before the clone.
#[derive(Debug)]
pub struct Namespaces {
    /// Flags for the clone.
    pub new: u64,
    /// Namespaces of other processes to be joined by the child.
    pub joined: Vec<(OwnedFd, u64)>,
    /// The pid namespace is joined, and so has processes already.
    pub shares_pids: bool,
    /// The network namespace is new.
    pub has_own_network: bool,
    /// The UTS namespace is new.
    pub has_own_uts: bool,
    /// The IPC namespace is the host's.
    pub has_host_ipc: bool,
}

/// Opens the processes whose namespaces are joined and checks that they are still those that were meant.
pub fn resolve(spec: &NamespacesSpec) -> Outcome<Namespaces> {
    let mut resolved = Namespaces {
        new: namespace::MOUNT,
        joined: Vec::new(),
        shares_pids: false,
        has_own_network: spec.network == NamespaceMode::Private,
        has_own_uts: spec.uts == NamespaceMode::Private,
        has_host_ipc: spec.ipc == NamespaceMode::Host,
    };
    let modes = [
        (&spec.pid, namespace::PID),
        (&spec.network, namespace::NETWORK),
        (&spec.ipc, namespace::IPC),
        (&spec.uts, namespace::UTS),
    ];
    for (mode, flag) in modes {
        match mode {
            NamespaceMode::Private => resolved.new |= flag,
            NamespaceMode::Host => {}
            NamespaceMode::Process { pid, start_time } => {
                let handle = open_process(*pid, *start_time)?;
                resolved.shares_pids |= flag == namespace::PID;
                resolved.joined.push((handle, flag));
            }
        }
    }
    Ok(resolved)
}

impl Namespaces {
    /// Joins the namespaces of other processes, that of pids for its children; in the child.
    pub fn join(&self) -> Outcome<()> {
        for (process, flag) in &self.joined {
            namespace::join(process.as_fd(), *flag).step(FailureKind::NamespaceGone, "join a namespace", "")?;
        }
        Ok(())
    }
}

fn open_process(pid: u32, start_time: u64) -> Outcome<OwnedFd> {
    let subject = pid.to_string();
    let gone = |detail: &str| refused(FailureKind::NamespaceGone, "join a namespace", &subject, detail);
    let number = Pid::from_raw(pid as i32).ok_or_else(|| gone("this is not a process id"))?;
    let handle = rustix::process::pidfd_open(number, PidfdFlags::empty()).step(
        FailureKind::NamespaceGone,
        "join a namespace",
        &subject,
    )?;
    // Read after the handle was opened: if the number still has the start time, the handle is the process meant.
    if start_time != 0 && start_time_of(pid) != Some(start_time) {
        return Err(gone("the process has ended"));
    }
    Ok(handle)
}

/// When a process was started: field 22 of `/proc/<pid>/stat`, clock ticks.
pub fn start_time_of(pid: u32) -> Option<u64> {
    status_field(pid, 22)
}

/// Whether a child of ours has begun to exit. The first process of a pid namespace kills all others before its own exit
/// can be waited for.
pub fn is_exiting(pid: u32) -> bool {
    const PF_EXITING: u64 = 4;
    status_field(pid, 9).is_none_or(|flags| flags & PF_EXITING != 0)
}

/// A number from `/proc/<pid>/stat`, counted as in `proc_pid_stat(5)`, from 3 on.
fn status_field(pid: u32, number: usize) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(number - 3)?.parse().ok()
}
