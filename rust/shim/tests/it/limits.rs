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
