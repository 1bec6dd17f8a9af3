//! The container's init: what happens between the clone and the program's `execve`, in an order that matters.
//!
//! ```text
//! shim                                    init (this file)
//!   │ clone3(namespaces, into v2 group) ────► steps, in order
//!   │ ── one byte: joined the v1 groups ────► │
//!   │ ◄───────────── Warning{text} ×n ─────── │
//!   │ ◄── Mounted + devpts [+ master] ─────── │
//!   │ ◄───────────── Ready ────────────────── │ execve closes the socket: end of file is success
//!   │ ◄───────────── Failed{failure} ──────── │ … or a step failed
//! ```
//!
//! In a pid namespace that has processes already, another process becomes the program: see [`handover`].

pub mod credentials;
pub mod execute;
pub mod handoff;
pub mod handover;
pub mod pid1;
pub mod program;
pub mod report;
pub mod rlimits;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

use ctr_spec::{ContainerSpec, FailureKind, StdioMode};
use ctr_sys::namespace;

use crate::cgroup::{Entrance, View};
use crate::failure::{Outcome, Step, exit_code_of};
use crate::namespaces::Namespaces;
use crate::rootfs;
use crate::users::Identity;
use program::{By, Program, Standard};
use report::{Report, Reporter};
use rootfs::dev::Shm;

/// Everything that init needs, prepared by the supervisor.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The container.
    pub spec: &'a ContainerSpec,
    /// Namespaces to join.
    pub namespaces: &'a Namespaces,
    /// The way into the control groups.
    pub entrance: &'a Entrance,
    /// Control groups to show.
    pub views: &'a [View],
    /// System call filter.
    pub seccomp: Option<&'a [u8]>,
    /// The program's standard streams; absent ones are `/dev/null`.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// Where reports go.
    pub reporter: Reporter,
}

/// Runs in the child. Returns its exit status, if at all.
pub fn run(plan: &Plan<'_>) -> i32 {
    match steps(plan) {
        Ok(never) => match never {},
        Err(failure) => {
            let code = exit_code_of(&failure);
            plan.reporter.send(&Report::Failed { failure }, &[]);
            code
        }
    }
}

fn steps(plan: &Plan<'_>) -> Outcome<Infallible> {
    let spec = plan.spec;
    // A killed supervisor takes the container along, from the first moment.
    plan.reporter.die_with_supervisor()?;
    // The mount of v2 needs the namespace. v1 groups are entered last: their device rules need not allow to make what is
    // in every container's /dev.
    let has_v1 = !plan.entrance.v1.is_empty();
    if !has_v1 {
        enter_cgroups(plan)?;
    }
    if let Some(value) = spec.process.oom_score_adj {
        rootfs::system::set_oom_score_adj(value)?;
    }
    plan.namespaces.join()?;
    if plan.namespaces.has_own_network {
        ctr_sys::loopback::bring_up().step(FailureKind::Internal, "bring up the loopback device", "lo")?;
    }
    if plan.namespaces.has_own_uts {
        name_host(spec)?;
    }
    let (root, dev) = build_root(plan)?;
    let mut terminal = None;
    if let StdioMode::Terminal { rows, columns } = spec.stdio {
        let (master, slave) = rootfs::dev::open_terminal(&dev.devpts, rows, columns)?;
        dev.bind_console(&slave)?;
        plan.reporter.send(&Report::Mounted, &[dev.devpts.as_fd(), master.as_fd(), slave.as_fd()]);
        terminal = Some(slave);
    } else {
        plan.reporter.send(&Report::Mounted, &[dev.devpts.as_fd()]);
    }
    // Last of the mounts: what was bound may lie beneath these paths.
    rootfs::mask::make_readonly(&root, &spec.readonly_paths)?;
    rootfs::mask::hide(&root, &dev, &spec.masked_paths)?;
    if spec.root.is_readonly {
        make_working_directory(&root, spec)?;
        root.make_readonly()?;
    }
    if has_v1 {
        enter_cgroups(plan)?;
    }
    root.pivot()?;
    let standard = match terminal {
        Some(slave) => Standard::Terminal(slave),
        None => Standard::Streams(plan.streams),
    };
    let program = Program {
        process: &spec.process,
        root: &root,
        seccomp: plan.seccomp,
        standard,
        makes_working_directory: true,
        reporter: &plan.reporter,
    };
    let rest = |identity: &Identity| {
        if spec.init { pid1::run(&program, identity) } else { program.hand_off(identity) }
    };
    if plan.namespaces.shares_pids { handover::run(&program, rest) } else { rest(&program.prepare(By::Itself)?) }
}

/// Enters the groups, and makes them the root of what it sees.
fn enter_cgroups(plan: &Plan<'_>) -> Outcome<()> {
    plan.reporter.join(plan.entrance)?;
    // After joining: the namespace's root is the group at the moment of leaving the old one.
    namespace::unshare(namespace::CGROUP).step(FailureKind::KernelFeatureMissing, "make a cgroup namespace", "")
}

fn name_host(spec: &ContainerSpec) -> Outcome<()> {
    namespace::set_host_name(&spec.hostname).step(FailureKind::Internal, "set the host name", &spec.hostname)?;
    match &spec.domainname {
        Some(name) => namespace::set_domain_name(name).step(FailureKind::Internal, "set the domain name", name),
        None => Ok(()),
    }
}

fn build_root(plan: &Plan<'_>) -> Outcome<(rootfs::Root, rootfs::dev::Dev)> {
    let spec = plan.spec;
    let shm = shared_memory(plan)?;
    // Shared sources are copied while this namespace still is the host's peer.
    let prepared = rootfs::mounts::prepare(&spec.mounts)?;
    rootfs::isolate_propagation()?;
    let root = rootfs::overlay::mount(&spec.root)?;
    rootfs::system::mount_proc(&root)?;
    let dev = rootfs::dev::mount(&root, shm, spec.devices.allow_all)?;
    rootfs::system::mount_sys(&root, plan.views, spec.writable_sys)?;
    // Before the mounts that a person asked for: those may lie beneath a hidden path.
    rootfs::mask::hide(&root, &dev, &spec.root.hidden_paths)?;
    rootfs::files::inject(&root, &spec.files)?;
    rootfs::mounts::attach_all(&root, prepared)?;
    Ok((root, dev))
}

/// Who shares the IPC namespace shares `/dev/shm` too: POSIX shared memory lives there.
fn shared_memory(plan: &Plan<'_>) -> Outcome<Shm> {
    let own = Shm::Own(plan.spec.shm_size_bytes);
    if plan.namespaces.has_host_ipc {
        let copied = rootfs::shared_memory::of_host();
        return Ok(Shm::Shared(copied.step(FailureKind::MountFailed, "share the memory of the host", "/dev/shm")?));
    }
    let Some((process, _)) = plan.namespaces.joined.iter().find(|(_, flag)| *flag == namespace::IPC) else {
        return Ok(own);
    };
    let copied = rootfs::shared_memory::copy_from(process.as_fd()).step(
        FailureKind::NamespaceGone,
        "share the memory of another container",
        "/dev/shm",
    )?;
    Ok(copied.map_or(own, Shm::Shared))
}

/// A read-only root takes no new directory later.
fn make_working_directory(root: &rootfs::Root, spec: &ContainerSpec) -> Outcome<()> {
    root.find_or_make(&spec.process.cwd, rootfs::target::Shape::Directory).map(drop).step(
        FailureKind::BadWorkingDirectory,
        "make the working directory",
        &spec.process.cwd,
    )
}
