//! A container's control groups as data.

use ctr_spec::{CgroupDir, CgroupPlan, CgroupVersion, CgroupWrite, DevicesSpec, LimitsSpec};

use super::{Hierarchies, device_program, group_name, limits};
use crate::Result;

/// Controllers of which every container gets a group: for limits, accounting, and to find and freeze its processes.
const ALWAYS: [&str; 7] = ["memory", "pids", "cpu", "cpuacct", "devices", "freezer", "blkio"];

/// Controllers of the unified hierarchy that every container uses.
const ALWAYS_V2: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// The control groups of a container. Touches nothing.
///
/// A limit or device rule that was asked for is a required write. Kinds: `InvalidArgument`, `LimitRefused`.
pub fn plan(machine: &Hierarchies, wanted: &LimitsSpec, devices: &DevicesSpec, id: &str) -> Result<CgroupPlan> {
    limits::check(machine, wanted)?;
    let wants_cpuset = wanted.cpuset_cpus.is_some() || wanted.cpuset_mems.is_some();
    let mut dirs = Vec::new();
    for hierarchy in &machine.v1 {
        let is_used = |name: &str| ALWAYS.contains(&name) || (wants_cpuset && name == "cpuset");
        if !hierarchy.controllers.iter().any(|name| is_used(name)) {
            continue;
        }
        let mut writes = Vec::new();
        for controller in &hierarchy.controllers {
            writes.extend(limits::v1_writes(machine, controller, wanted));
            if controller == "devices" {
                writes.extend(device_writes(devices));
            }
        }
        dirs.push(CgroupDir {
            version: CgroupVersion::V1,
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            parent: String::new(),
            name: group_name(id),
            enable: Vec::new(),
            writes,
        });
    }
    let mut program = None;
    if let Some(hierarchy) = &machine.v2 {
        let mut enable: Vec<String> =
            ALWAYS_V2.iter().filter(|name| machine.is_on_v2(name)).map(|name| (*name).to_owned()).collect();
        if wants_cpuset && machine.is_on_v2("cpuset") {
            enable.push("cpuset".into());
        }
        dirs.push(CgroupDir {
            version: CgroupVersion::V2,
            controllers: enable.clone(),
            mount: hierarchy.mount.clone(),
            parent: String::new(),
            name: group_name(id),
            writes: enable.iter().flat_map(|controller| limits::v2_writes(controller, wanted)).collect(),
            enable,
        });
        if machine.v1_of("devices").is_none() && !devices.allow_all {
            program = Some(device_program(&devices.rules));
        }
    }
    Ok(CgroupPlan { dirs, device_program: program })
}

/// Everything is denied, then the rules follow (`Documentation/admin-guide/cgroup-v1/devices.rst`).
fn device_writes(devices: &DevicesSpec) -> Vec<CgroupWrite> {
    if devices.allow_all {
        return Vec::new();
    }
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let deny_all = CgroupWrite { file: "devices.deny".into(), value: "a".into(), is_required: true };
    let rules = devices.rules.iter().map(|rule| CgroupWrite {
        file: if rule.allow { "devices.allow" } else { "devices.deny" }.into(),
        value: format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access),
        is_required: true,
    });
    std::iter::once(deny_all).chain(rules).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
