//! System calls, file systems and namespaces.

use std::path::Path;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, OpenTreeFlags};
use rustix::process::{Pid, PidfdFlags};

use super::Feature;
use crate::seccomp::Arch;

const NEWER_KERNEL: &str = "use Linux 5.15 or later";

pub fn features() -> Vec<Feature> {
    let mut features = vec![
        release(),
        call(
            "openat2",
            "5.6",
            rustix::fs::openat2(CWD, "/", OFlags::PATH, Mode::empty(), ResolveFlags::BENEATH).map(drop),
        ),
        call("pidfd", "5.3", rustix::process::pidfd_open(own_pid(), PidfdFlags::empty()).map(drop)),
        call("memory files", "3.17", memory_files()),
        mount_by_descriptors(),
        call(
            "detached mount trees",
            "5.2",
            rustix::mount::open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).map(drop),
        ),
        overlay(),
        seccomp(),
    ];
    features.extend(file_systems());
    features.extend(namespaces());
    features
}

fn own_pid() -> Pid {
    rustix::process::getpid()
}

fn release() -> Feature {
    let release = read("/proc/sys/kernel/osrelease");
    let version = crate::seccomp::kernel_version(&release);
    let is_new = version.is_some_and(|version| version >= (5, 15));
    // clone3 into a group (5.7), close_range (5.9) and mount_setattr (5.12) cannot be asked for without being done.
    let detail = format!("Linux {} has clone3, close_range, mount_setattr: {}", release.trim(), yes_no(is_new));
    Feature::required("kernel version", is_new, detail, NEWER_KERNEL)
}

/// A call that answered anything but "no such call" (or "no such flag") is there.
fn call(name: &str, since: &str, outcome: rustix::io::Result<()>) -> Feature {
    let is_there = !matches!(outcome, Err(Errno::NOSYS));
    let detail = match outcome {
        Ok(()) | Err(Errno::XDEV) => "works".to_owned(),
        Err(Errno::NOSYS) => format!("the kernel does not have it (Linux {since} or later does)"),
        Err(cause) => format!("is there, refused here: {cause}"),
    };
    Feature::required(name, is_there, detail, NEWER_KERNEL)
}

fn memory_files() -> rustix::io::Result<()> {
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(c"pyrust-ctr-doctor", base | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"pyrust-ctr-doctor", base).map(drop),
        // EACCES: the machine forbids executable ones (vm.memfd_noexec).
        other => other.map(drop),
    }
}

fn mount_by_descriptors() -> Feature {
    let remedy = "use Linux 5.15 or later, and run as root";
    let opened = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC);
    let mounted = opened.and_then(|context| {
        rustix::mount::fsconfig_create(&context)?;
        // Detached: it is nowhere, and gone with its descriptor.
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, rustix::mount::MountAttrFlags::empty())
    });
    match mounted {
        Ok(_) => Feature::required("mounts by descriptor", true, "fsopen, fsconfig and fsmount work", remedy),
        Err(cause) => Feature::required("mounts by descriptor", false, format!("fsopen failed: {cause}"), remedy),
    }
}

fn overlay() -> Feature {
    let remedy = "load the `overlay` module (`modprobe overlay`), and run as root";
    let context = match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(context) => context,
        Err(Errno::NODEV) => {
            return Feature::required("overlayfs", false, "the kernel does not have it loaded", remedy);
        }
        Err(cause) => return Feature::required("overlayfs", false, format!("cannot be used: {cause}"), remedy),
    };
    // A layer a call, without the old limit of one page for all names (Linux 6.7).
    let has_single_layers = rustix::mount::fsconfig_set_string(&context, "lowerdir+", "/").is_ok();
    let detail = if has_single_layers {
        "is there, takes any number of layers"
    } else {
        "is there, takes as many layers as fit a page of names"
    };
    Feature::required("overlayfs", true, detail, remedy)
}

fn seccomp() -> Feature {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let has_filter = actions.split_ascii_whitespace().any(|action| action == "errno");
    let detail = match (has_filter, Arch::NATIVE) {
        (false, _) => "the kernel has no system call filters".to_owned(),
        (true, None) => format!("the kernel has it, there is no profile for `{}`", std::env::consts::ARCH),
        (true, Some(_)) => format!("actions: {}", actions.trim()),
    };
    let remedy = "use a kernel with CONFIG_SECCOMP_FILTER, or run containers with `--security-opt seccomp=unconfined`";
    Feature::required("seccomp filter", has_filter && Arch::NATIVE.is_some(), detail, remedy)
}

fn file_systems() -> Vec<Feature> {
    let known = read("/proc/filesystems");
    [("proc", true), ("sysfs", true), ("tmpfs", true), ("devpts", true), ("mqueue", false)]
        .into_iter()
        .map(|(name, is_required)| {
            let is_there = known.lines().any(|line| line.split_ascii_whitespace().last() == Some(name));
            let detail = if is_there { "is there" } else { "is not in /proc/filesystems" };
            let remedy = "use a kernel that has this file system";
            let feature = Feature::required(&format!("{name} file system"), is_there, detail, remedy);
            Feature { is_required, ..feature }
        })
        .collect()
}

fn namespaces() -> Vec<Feature> {
    [
        ("pid", "PID_NS"),
        ("mnt", "NAMESPACES"),
        ("uts", "UTS_NS"),
        ("ipc", "IPC_NS"),
        ("net", "NET_NS"),
        ("cgroup", "CGROUPS"),
    ]
    .into_iter()
    .map(|(kind, option)| {
        let is_there = Path::new("/proc/self/ns").join(kind).exists();
        let detail = if is_there { "are there" } else { "the kernel does not have them" };
        let name = if kind == "mnt" { "mount namespaces".to_owned() } else { format!("{kind} namespaces") };
        Feature::required(&name, is_there, detail, &format!("use a kernel with CONFIG_{option}"))
    })
    .collect()
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

pub fn yes_no(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}
