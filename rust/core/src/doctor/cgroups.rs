//! Control groups: which hierarchies, and which limits they make possible.

use std::path::Path;

use super::Feature;
use crate::cgroup::{Hierarchies, host};

const REMEDY_CONTROLLER: &str = "mount the controller's hierarchy, or boot with it enabled (`cgroup_enable=`)";

pub fn features() -> Vec<Feature> {
    let machine = match host() {
        Ok(machine) => machine,
        Err(error) => return vec![Feature::required("control groups", false, error.message, "mount `/proc`")],
    };
    let version = machine.version();
    let mut features = vec![Feature::required(
        "control groups",
        version != "none",
        format!("{version}: {}", mounts(machine)),
        "mount a control group hierarchy (`mount -t cgroup2 none /sys/fs/cgroup`)",
    )];
    for (name, controller) in
        [("memory limits", "memory"), ("process limits", "pids"), ("CPU limits", "cpu"), ("CPU sets", "cpuset")]
    {
        features.push(Feature::optional(name, machine.has(controller), place(machine, controller), REMEDY_CONTROLLER));
    }
    features.push(Feature::optional(
        "swap limits",
        machine.has_swap_limit,
        if machine.has_swap_limit { "memory plus swap can be limited" } else { "swap is not accounted" },
        "boot with `swapaccount=1`; without it a memory limit does not include swap",
    ));
    features.push(devices(machine));
    features.push(freezer(machine));
    features.push(kill(machine));
    features
}

fn mounts(machine: &Hierarchies) -> String {
    let v1 = machine.v1.iter().map(|hierarchy| hierarchy.controllers.join(","));
    let v2 = machine.v2.iter().map(|hierarchy| format!("unified at {}", hierarchy.mount));
    v1.chain(v2).collect::<Vec<_>>().join(" ")
}

fn place(machine: &Hierarchies, controller: &str) -> String {
    match machine.v1_of(controller) {
        Some(hierarchy) => format!("`{controller}` at {}", hierarchy.mount),
        None if machine.is_on_v2(controller) => format!("`{controller}` in the unified hierarchy"),
        None => format!("there is no `{controller}` controller"),
    }
}

fn devices(machine: &Hierarchies) -> Feature {
    let remedy = "mount the `devices` hierarchy, or use a kernel with CONFIG_CGROUP_BPF; without either, containers with \
                  CAP_MKNOD could reach every device";
    if let Some(hierarchy) = machine.v1_of("devices") {
        return Feature::required("device rules", true, format!("`devices` at {}", hierarchy.mount), remedy);
    }
    // Loading a program to see whether it can be loaded would need the very rights that a container start has.
    let has_bpf = machine.v2.is_some() && Path::new("/proc/sys/kernel/unprivileged_bpf_disabled").exists();
    let detail = if has_bpf { "eBPF programs on the unified hierarchy" } else { "neither `devices` nor eBPF is there" };
    Feature::required("device rules", has_bpf, detail, remedy)
}

fn freezer(machine: &Hierarchies) -> Feature {
    let (is_there, detail) = match (machine.v1_of("freezer"), &machine.v2) {
        (Some(hierarchy), _) => (true, format!("`freezer` at {}", hierarchy.mount)),
        (None, Some(_)) => (true, "in the unified hierarchy".to_owned()),
        (None, None) => (false, "there is no `freezer` controller".to_owned()),
    };
    Feature::optional("freezing", is_there, detail, REMEDY_CONTROLLER)
}

/// The file is only in groups below the root; making one to look would be a side effect, an existing one will do.
fn kill(machine: &Hierarchies) -> Feature {
    let version = crate::seccomp::kernel_version(&super::kernel::read("/proc/sys/kernel/osrelease"));
    let is_there = machine.v2.is_some() && version.is_some_and(|version| version >= (5, 14));
    let detail = if is_there {
        "a container's processes are killed with one write (`cgroup.kill`)"
    } else {
        "a container's processes are killed one by one"
    };
    Feature::optional(
        "killing by control group",
        is_there,
        detail,
        "use Linux 5.14 or later with the unified hierarchy",
    )
}
