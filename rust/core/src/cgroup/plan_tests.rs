use std::collections::BTreeSet;

use ctr_spec::DeviceRule;

use super::*;
use crate::ErrorKind;
use crate::cgroup::{V1Hierarchy, V2Hierarchy};

fn v1(names: &[&str]) -> Vec<V1Hierarchy> {
    names
        .iter()
        .map(|name| V1Hierarchy {
            mount: format!("/sys/fs/cgroup/{name}"),
            controllers: name.split(',').map(str::to_owned).collect(),
        })
        .collect()
}

fn v2(controllers: &[&str]) -> V2Hierarchy {
    V2Hierarchy {
        mount: "/sys/fs/cgroup".into(),
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn machine(v1_names: &[&str], v2_controllers: Option<&[&str]>) -> Hierarchies {
    Hierarchies {
        v1: v1(v1_names),
        v2: v2_controllers.map(v2),
        cpus: BTreeSet::from([0, 1]),
        memory_nodes: BTreeSet::from([0]),
        has_swap_limit: true,
    }
}

fn hybrid() -> Hierarchies {
    machine(&["cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"], Some(&["hugetlb"]))
}

fn pure_v2() -> Hierarchies {
    machine(&[], Some(&["cpuset", "cpu", "io", "memory", "pids", "rdma"]))
}

fn devices() -> DevicesSpec {
    let rule = DeviceRule { kind: 'c', major: Some(1), minor: None, access: "rwm".into(), allow: true };
    DevicesSpec { allow_all: false, rules: vec![rule] }
}

fn make(machine: &Hierarchies, limits: &LimitsSpec) -> CgroupPlan {
    plan(machine, limits, &devices(), "abc").unwrap()
}

/// Every write as `controller/file=value`, with a `?` where it may fail.
fn writes(plan: &CgroupPlan) -> Vec<String> {
    plan.dirs
        .iter()
        .flat_map(|dir| dir.writes.iter())
        .map(|write| format!("{}={}{}", write.file, write.value, if write.is_required { "" } else { "?" }))
        .collect()
}

#[test]
fn a_hybrid_machine_gets_v1_groups_and_one_unified() {
    let plan = make(&hybrid(), &LimitsSpec::default());
    let names: Vec<String> = plan.dirs.iter().map(|dir| dir.controllers.join(",")).collect();
    assert_eq!(names, ["cpu,cpuacct", "memory", "devices", "freezer", "blkio", "pids", ""]);
    assert_eq!(plan.dirs.last().unwrap().version, CgroupVersion::V2);
    assert_eq!(writes(&plan), ["devices.deny=a", "devices.allow=c 1:* rwm"]);
    assert_eq!(plan.device_program, None);
    assert!(plan.dirs.iter().all(|dir| dir.parent.is_empty() && dir.name == "pyrust-ctr-abc"));
}

#[test]
fn limits_become_required_writes_on_v1() {
    let limits = LimitsSpec {
        memory_bytes: Some(64 << 20),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("1".into()),
        pids: Some(50),
        ..LimitsSpec::default()
    };
    assert_eq!(
        writes(&make(&hybrid(), &limits)),
        [
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpu.shares=512",
            "cpuset.cpus=1",
            "memory.limit_in_bytes=67108864",
            "memory.memsw.limit_in_bytes=134217728?",
            "devices.deny=a",
            "devices.allow=c 1:* rwm",
            "pids.max=50",
        ]
    );
}

#[test]
fn limits_become_required_writes_on_v2() {
    let limits = LimitsSpec {
        memory_bytes: Some(64 << 20),
        memory_swap_bytes: Some(64 << 20),
        cpu_quota_us: Some(50_000),
        cpu_shares: Some(1_024),
        cpuset_mems: Some("0".into()),
        pids: Some(-1),
        ..LimitsSpec::default()
    };
    let plan = make(&pure_v2(), &limits);
    assert_eq!(
        writes(&plan),
        ["cpu.max=50000 100000", "cpu.weight=100", "memory.max=67108864", "memory.swap.max=0", "cpuset.mems=0"]
    );
    assert_eq!(plan.dirs.len(), 1);
    assert_eq!(plan.dirs[0].enable, ["cpu", "memory", "pids", "io", "cpuset"]);
    assert!(plan.device_program.is_some());
    let everything = DevicesSpec { allow_all: true, rules: Vec::new() };
    let plan = super::plan(&pure_v2(), &LimitsSpec::default(), &everything, "abc").unwrap();
    assert_eq!(plan.device_program, None);
}

#[test]
fn impossible_limits_are_told_before_anything_is_made() {
    let base = LimitsSpec::default;
    let cases: Vec<(LimitsSpec, ErrorKind, &str)> = vec![
        (LimitsSpec { memory_bytes: Some(1 << 20), ..base() }, ErrorKind::InvalidArgument, "the least is 6 MiB"),
        (
            LimitsSpec { memory_swap_bytes: Some(1 << 30), ..base() },
            ErrorKind::InvalidArgument,
            "needs a limit on memory",
        ),
        (
            LimitsSpec { memory_bytes: Some(64 << 20), memory_swap_bytes: Some(32 << 20), ..base() },
            ErrorKind::InvalidArgument,
            "must not be below",
        ),
        (LimitsSpec { cpu_quota_us: Some(300_000), ..base() }, ErrorKind::LimitRefused, "this machine's 2 CPUs"),
        (LimitsSpec { cpu_quota_us: Some(999), ..base() }, ErrorKind::InvalidArgument, "the least is 1,000"),
        (LimitsSpec { cpu_period_us: Some(1), ..base() }, ErrorKind::InvalidArgument, "out of range"),
        (LimitsSpec { cpu_shares: Some(1), ..base() }, ErrorKind::InvalidArgument, "out of range"),
        (LimitsSpec { cpuset_cpus: Some("0-7".into()), ..base() }, ErrorKind::LimitRefused, "this machine has 0-1"),
        (
            LimitsSpec { cpuset_cpus: Some("zero".into()), ..base() },
            ErrorKind::InvalidArgument,
            "is not a list of CPUs",
        ),
        (
            LimitsSpec { cpuset_cpus: Some(String::new()), ..base() },
            ErrorKind::InvalidArgument,
            "is not a list of CPUs",
        ),
    ];
    for (limits, kind, words) in cases {
        let error = plan(&hybrid(), &limits, &devices(), "abc").unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn a_machine_without_the_means_says_so() {
    let limits =
        LimitsSpec { memory_bytes: Some(64 << 20), memory_swap_bytes: Some(64 << 20), ..LimitsSpec::default() };
    let without_swap = Hierarchies { has_swap_limit: false, ..hybrid() };
    let error = plan(&without_swap, &limits, &devices(), "abc").unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitRefused);
    assert!(error.message.contains("cannot limit swap"), "{error}");
    let plain = LimitsSpec { memory_swap_bytes: None, ..limits.clone() };
    assert!(!writes(&make(&without_swap, &plain)).iter().any(|write| write.contains("memsw")));
    let error = plan(&machine(&["cpu"], None), &plain, &devices(), "abc").unwrap_err();
    assert!(error.message.contains("no `memory` control group controller"), "{error}");
}
