//! Control groups: limits hold, and are told.

use ctr_spec::FailureKind;

use crate::harness::{Container, sh};
use crate::needs_root;

fn has_v1(controller: &str) -> bool {
    std::path::Path::new(&format!("/sys/fs/cgroup/{controller}/cgroup.procs")).exists()
}

#[test]
fn memory_kills_are_told() {
    needs_root!();
    let mut container = Container::new(&sh("x=; while :; do x=$x$(head -c 1000000 /dev/zero | tr '\\0' x); done"));
    let file = if has_v1("memory") { "memory.limit_in_bytes" } else { "memory.max" };
    container.limit("memory", file, "16777216", true);
    let record = container.run().record;
    assert!(record.oom_killed, "{record:?}");
    assert_eq!(record.exit_code, 137);
    assert!(record.peak_memory_bytes.unwrap() > 8 << 20);
    assert!(record.cpu_ns.unwrap() > 0);
    assert!(!Container::new(&["true"]).run().record.oom_killed);
}

#[test]
fn process_limits_hold() {
    needs_root!();
    let mut container = Container::new(&sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"));
    container.limit("pids", "pids.max", "5", true);
    assert!(container.run().stderr.contains("can't fork"));
}

#[test]
fn refused_settings_fail_or_warn() {
    needs_root!();
    let mut container = Container::new(&["true"]);
    container.limit("pids", "pids.max", "nonsense", true);
    let failure = container.fail();
    assert_eq!((failure.kind, failure.subject.as_str()), (FailureKind::LimitRefused, "pids.max=nonsense"));
    let mut container = Container::new(&["true"]);
    container.limit("pids", "pids.max", "nonsense", false);
    let running = container.start();
    assert!(running.warnings[0].contains("pids.max"), "{:?}", running.warnings);
    running.wait();
}

#[test]
fn device_rules_hold() {
    needs_root!();
    if !has_v1("devices") {
        eprintln!("skipped: no v1 devices hierarchy");
        return;
    }
    let mut container =
        Container::new(&sh("echo x > /dev/null && cat /dev/full | head -c 1 | wc -c; head -c 1 /dev/zero"));
    container.limit("devices", "devices.deny", "c 1:5 rw", true);
    let ended = container.run();
    assert_eq!(ended.stdout, "1\n");
    assert!(ended.stderr.contains("Operation not permitted"), "{}", ended.stderr);
}

#[test]
fn a_timeout_kills_everything() {
    needs_root!();
    let mut container = Container::new(&sh("sleep 1000 & sleep 1000"));
    container.spec.timeout_ms = Some(100);
    let record = container.run().record;
    assert!(record.timed_out);
    assert_eq!(record.exit_code, 137);
    assert!(record.duration_ns >= 100_000_000 && record.duration_ns < 5_000_000_000);
}

#[test]
fn a_device_program_filters_on_v2() {
    needs_root!();
    let mut container = Container::new(&sh("ls /dev/zero; head -c 1 /dev/zero"));
    if !container.cgroups.dirs.iter().any(|dir| dir.version == ctr_spec::CgroupVersion::V2) {
        eprintln!("skipped: no v2 hierarchy");
        return;
    }
    // r0 = access_type >> 16 & BPF_DEVCG_ACC_MKNOD: nodes may be made, and nothing else.
    container.cgroups.device_program = Some(vec![0x1061, 0x10_0000_0077, 0x1_0000_0057, 0x95]);
    let ended = container.run();
    assert_eq!(ended.stdout, "/dev/zero\n");
    assert!(ended.stderr.contains("Operation not permitted"), "{}", ended.stderr);
    let mut container = Container::new(&["true"]);
    container.cgroups.device_program = Some(vec![0x95]);
    assert_eq!(container.fail().kind, FailureKind::KernelFeatureMissing);
}

#[test]
fn nodes_that_must_not_be_made_are_bound() {
    needs_root!();
    let mut container =
        Container::new(&sh("head -c 1 /dev/zero | wc -c; echo x > /dev/null && stat -c %t:%T /dev/null"));
    if !container.cgroups.dirs.iter().any(|dir| dir.version == ctr_spec::CgroupVersion::V2) {
        eprintln!("skipped: no v2 hierarchy");
        return;
    }
    // r0 = (access_type >> 16 & (READ | WRITE)) != 0
    container.cgroups.device_program = Some(vec![0x1061, 0x10_0000_0077, 0x6_0000_0057, 0x1_0015, 0x1_0000_00b7, 0x95]);
    let ended = container.run();
    assert_eq!(ended.stdout, "1\n1:3\n", "{}", ended.stderr);
}

#[test]
fn controllers_are_handed_down_whoever_made_the_parent() {
    needs_root!();
    if has_v1("memory") || has_v1("pids") {
        eprintln!("skipped: the control groups of this machine are not v2 alone");
        return;
    }
    for is_made_before in [false, true] {
        let mut container = Container::new(&["cat", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/memory.max"]);
        let dir = &mut container.cgroups.dirs[0];
        dir.parent = format!("{}-{is_made_before}/inner", dir.parent);
        dir.enable.insert(0, "nonsense".into());
        let parent = std::path::Path::new(&dir.mount).join(&dir.parent);
        if is_made_before {
            std::fs::create_dir_all(&parent).unwrap();
        }
        container.limit("pids", "pids.max", "7", true);
        container.limit("memory", "memory.max", "33554432", true);
        let ended = container.run();
        assert_eq!(ended.stdout, "7\n33554432\n", "{}", ended.stderr);
        assert!(!parent.exists() && !parent.parent().unwrap().exists());
    }
}
