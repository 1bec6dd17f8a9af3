//! What holds on machines with nothing but control groups v2. `make test-vm` boots one.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ctr_core::cgroup;
use ctr_core::container::{self, ExecOutcome, StartStreams, never};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, exec_spec, groups_of, id_of, sandbox, text};

const SOON: Option<Duration> = Some(Duration::from_secs(20));
const MIB: u64 = 1 << 20;

/// A sandbox where the unified hierarchy is alone; says why not otherwise.
fn unified() -> Option<Sandbox> {
    let version = cgroup::host().unwrap().version();
    if version != "v2" {
        eprintln!("skipped: the control groups of this machine are {version}");
        return None;
    }
    sandbox()
}

fn group_of(spec: &Value) -> PathBuf {
    let [group] = &groups_of(id_of(spec))[..] else { panic!("not one group") };
    group.clone()
}

fn capture(sandbox: &Sandbox, spec: &Value, exec: &Value) -> ExecOutcome {
    let exec = serde_json::to_vec(exec).unwrap();
    container::exec_capture(&sandbox.container_dir(spec), &exec, None, &mut never()).unwrap()
}

/// Kills the container and returns how it ended.
fn end(sandbox: &Sandbox, spec: &Value) -> ctr_spec::ExitRecord {
    let directory = sandbox.container_dir(spec);
    container::signal(&directory, 9, true).unwrap();
    let exit = container::wait(&directory, SOON, &mut never()).unwrap().unwrap();
    container::remove(&directory, id_of(spec), &sandbox.trash(), &mut never()).unwrap();
    sandbox.assert_nothing_left(spec);
    exit
}

#[test]
fn limits_are_seen_and_cannot_be_changed_from_inside() {
    let Some(sandbox) = unified() else { return };
    let script = "cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max cpu.max cpu.weight \
                  cpuset.cpus.effective; busybox nproc; echo *pyrust*; busybox grep -c ' /sys/fs/cgroup cgroup2 ro,' \
                  /proc/mounts; busybox mkdir inner; echo max > memory.max; echo 0 > cgroup.procs";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec["limits"] = json!({
        "memory_bytes": 32 * MIB, "memory_swap_bytes": 48 * MIB, "pids": 20, "cpu_quota_us": 20_000,
        "cpu_period_us": 50_000, "cpu_shares": 262_144, "cpuset_cpus": "0",
    });
    let outcome = sandbox.run(&spec, None).unwrap();
    let expected = "0::/\n33554432\n16777216\n20\n20000 50000\n10000\n0\n1\n*pyrust*\n1\n";
    assert_eq!(text(&outcome.stdout), expected, "{}", text(&outcome.stderr));
    assert_eq!(text(&outcome.stderr).matches("Read-only file system").count(), 3, "{}", text(&outcome.stderr));
    sandbox.assert_nothing_left(&spec);

    for (swap, expected) in [(Value::Null, "33554432\n"), (json!(-1), "max\n")] {
        let mut spec = sandbox.spec(&["cat", "/sys/fs/cgroup/memory.swap.max"]);
        spec["limits"] = json!({"memory_bytes": 32 * MIB, "memory_swap_bytes": swap});
        assert_eq!(text(&sandbox.run(&spec, None).unwrap().stdout), expected);
    }
}

#[test]
fn peak_memory_is_told() {
    let Some(sandbox) = unified() else { return };
    let spec = sandbox.spec(&["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=24M", "count=1"]);
    let exit = sandbox.run(&spec, None).unwrap().exit;
    let peak = exit.peak_memory_bytes.unwrap();
    assert!((24 * MIB..64 * MIB).contains(&peak), "{peak}");
    assert!(!exit.oom_killed && exit.cpu_ns.unwrap() > 0);
}

#[test]
fn an_exec_that_takes_too_much_memory_is_told_and_the_container_lives() {
    let Some(sandbox) = unified() else { return };
    let mut spec = sandbox.service(&["sleep", "1000"]);
    spec["limits"] = json!({"memory_bytes": 24 * MIB, "memory_swap_bytes": 24 * MIB});
    sandbox.start(&spec).unwrap();
    let exit = capture(&sandbox, &spec, &exec_spec(&["tail", "/dev/zero"])).exit;
    assert!(exit.oom_killed && exit.exit_code == 137, "{exit:?}");
    let exit = capture(&sandbox, &spec, &exec_spec(&["true"])).exit;
    assert!(!exit.oom_killed && exit.exit_code == 0, "{exit:?}");
    let exit = end(&sandbox, &spec);
    assert!(exit.oom_killed && exit.peak_memory_bytes.unwrap() > 20 * MIB, "{exit:?}");
}

#[test]
fn a_processor_quota_throttles() {
    let Some(sandbox) = unified() else { return };
    let mut spec = sandbox.service(&["sh", "-c", "while :; do :; done"]);
    spec["limits"] = json!({"cpu_quota_us": 10_000});
    sandbox.start(&spec).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let statistics = std::fs::read_to_string(group_of(&spec).join("cpu.stat")).unwrap();
    let throttled = statistics.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap();
    assert!(throttled.parse::<u32>().unwrap() > 0, "{statistics}");
    let exit = end(&sandbox, &spec);
    assert!(exit.cpu_ns.unwrap() * 3 < exit.duration_ns, "a tenth was given: {exit:?}");
}

#[test]
fn device_rules_hold_for_the_container_and_its_execs() {
    let Some(sandbox) = unified() else { return };
    let rule = |allow: bool, kind: &str, numbers: [u32; 2], access: &str| json!({"kind": kind, "major": numbers[0], "minor": numbers[1], "access": access, "allow": allow});
    let script = "cd /tmp; head -c 1 /dev/zero || echo no zero; echo x > /dev/null && mknod full c 1 7 && \
                  mknod disk b 254 0 && echo made; mknod zero c 1 5 || echo not made; cat full | head -c 1 | wc -c; \
                  (echo x > full) || echo not written; cat disk || echo not read";
    let mut spec = sandbox.service(&["sleep", "1000"]);
    let rules = spec["devices"]["rules"].as_array_mut().unwrap();
    rules.extend([rule(false, "c", [1, 5], "rwm"), rule(false, "c", [1, 7], "w")]);
    let mut alone = sandbox.spec(&["sh", "-c", script]);
    alone["devices"] = spec["devices"].clone();
    let expected = "no zero\nmade\nnot made\n1\nnot written\nnot read\n";
    let outcome = sandbox.run(&alone, None).unwrap();
    assert_eq!(text(&outcome.stdout), expected, "{}", text(&outcome.stderr));
    assert_eq!(text(&outcome.stderr).matches("Operation not permitted").count(), 4, "{}", text(&outcome.stderr));
    sandbox.start(&spec).unwrap();
    let outcome = capture(&sandbox, &spec, &exec_spec(&["sh", "-c", script]));
    assert_eq!(text(&outcome.stdout), expected, "{}", text(&outcome.stderr));
    end(&sandbox, &spec);

    let mut spec = sandbox.spec(&["sh", "-c", "mknod /tmp/disk b 254 0 && cat /tmp/disk"]);
    spec["devices"] = json!({"allow_all": true, "rules": []});
    let outcome = sandbox.run(&spec, None).unwrap();
    assert!(text(&outcome.stderr).contains("No such device"), "{}", text(&outcome.stderr));
}

#[test]
fn the_tree_of_an_exec_dies_by_its_group() {
    let Some(sandbox) = unified() else { return };
    let spec = sandbox.service(&["sleep", "1000"]);
    sandbox.start(&spec).unwrap();
    let group = group_of(&spec);
    let inner = || {
        let entries = std::fs::read_dir(&group).unwrap().flatten();
        entries.filter(|entry| entry.file_type().unwrap().is_dir()).count()
    };
    let script = "busybox setsid sh -c 'busybox setsid sleep 4321 & sleep 4321' & sleep 4321";
    let mut exec = exec_spec(&["sh", "-c", script]);
    exec["timeout_ms"] = json!(1500);
    let outcome = capture(&sandbox, &spec, &exec);
    assert!(outcome.exit.timed_out && outcome.exit.exit_code == 137, "{:?}", outcome.exit);
    let deadline = Instant::now() + Duration::from_secs(5);
    while inner() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(inner(), 0);
    let listed =
        text(&capture(&sandbox, &spec, &exec_spec(&["sh", "-c", "cat /proc/[0-9]*/cmdline"])).stdout).to_owned();
    assert!(!listed.contains("4321"), "{listed:?}");

    // What an exec leaves behind keeps its group until the container ends.
    let mut exec = exec_spec(&["sh", "-c", "sleep 4321 > /dev/null 2>&1 & echo left"]);
    exec["timeout_ms"] = json!(60_000);
    assert_eq!(text(&capture(&sandbox, &spec, &exec).stdout), "left\n");
    assert_eq!(inner(), 1);
    end(&sandbox, &spec);
}

#[test]
fn containers_that_come_and_go_share_a_parent() {
    let Some(sandbox) = unified() else { return };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut spec = sandbox.spec(&["cat", "/sys/fs/cgroup/pids.max"]);
                    spec["limits"] = json!({"memory_bytes": 32 * MIB, "pids": 7, "cpu_quota_us": 50_000});
                    assert_eq!(text(&sandbox.run(&spec, None).unwrap().stdout), "7\n");
                    sandbox.assert_nothing_left(&spec);
                }
            });
        }
    });
}

#[test]
fn a_container_of_a_killed_shim_dies_by_its_group() {
    let Some(sandbox) = unified() else { return };
    let mut spec = sandbox.service(&["sh", "-c", "busybox setsid sleep 4322 & echo up; sleep 4322"]);
    // Without a pid namespace of its own, the end of the first process ends nobody else.
    spec["namespaces"] = json!({"pid": {"mode": "host"}});
    let (mut reader, writer) = std::io::pipe().unwrap();
    let directory = sandbox.container_dir(&spec);
    container::create(&directory, &serde_json::to_vec(&spec).unwrap()).unwrap();
    let streams = StartStreams { stdout_sink: Some(writer.as_fd()), ..StartStreams::default() };
    let started = container::start(&directory, &sandbox.trash(), streams, &mut never()).unwrap();
    drop(writer);
    std::io::Read::read_exact(&mut reader, &mut [0; 3]).unwrap();
    let group = group_of(&spec);
    let shim = container::probe(&directory).unwrap().started.unwrap().shim_pid;
    let shim = rustix::process::Pid::from_raw(shim.cast_signed()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    started.session.wait(SOON, &mut never()).unwrap_err();
    assert!(!std::fs::read_to_string(group.join("cgroup.procs")).unwrap().is_empty(), "the background process lives");
    container::repair(&directory, id_of(&spec)).unwrap();
    assert!(!group.exists());
    container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
    sandbox.assert_nothing_left(&spec);
}
