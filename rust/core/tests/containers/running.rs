//! `run` with the real shim: output, input, exits, limits, isolation.

use std::time::{Duration, Instant};

use crate::sandbox::{sandbox, text};
use ctr_core::{Error, ErrorKind, container};
use serde_json::json;

#[test]
fn output_and_exit_code_come_back() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.spec(&["sh", "-c", "echo out; echo err >&2; exit 3"]);
    let outcome = sandbox.run(&spec, None).unwrap();
    assert_eq!((text(&outcome.stdout), text(&outcome.stderr)), ("out\n", "err\n"));
    assert_eq!((outcome.exit.exit_code, outcome.exit.signal), (3, None));
    assert!(outcome.exit.duration_ns > 0 && outcome.exit.failure.is_none());
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn much_input_and_output_flow() {
    let Some(sandbox) = sandbox() else { return };
    let input: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let outcome = sandbox.run(&sandbox.spec(&["cat"]), Some(&input)).unwrap();
    assert!(outcome.stdout == input, "{} bytes of {}", outcome.stdout.len(), input.len());
    let outcome = sandbox.run(&sandbox.spec(&["head", "-c", "100000000", "/dev/zero"]), None).unwrap();
    assert_eq!(outcome.stdout.len(), 100_000_000);
}

#[test]
fn without_input_there_is_an_end_of_file_and_unread_input_is_no_error() {
    let Some(sandbox) = sandbox() else { return };
    assert_eq!(sandbox.run(&sandbox.spec(&["cat"]), None).unwrap().stdout, b"");
    assert_eq!(sandbox.run(&sandbox.spec(&["cat"]), Some(b"")).unwrap().stdout, b"");
    let outcome = sandbox.run(&sandbox.spec(&["true"]), Some(&vec![0; 1 << 22])).unwrap();
    assert_eq!(outcome.exit.exit_code, 0);
}

#[test]
fn programs_that_cannot_be_run_are_told_apart() {
    let Some(sandbox) = sandbox() else { return };
    for (args, user, kind, words) in [
        (["nothing"], "", ErrorKind::CommandNotFound, "not found"),
        (["/bin/nothing"], "", ErrorKind::CommandNotFound, "no such file"),
        (["/etc/passwd"], "", ErrorKind::CommandNotExecutable, "permission denied"),
        (["/etc"], "", ErrorKind::CommandNotExecutable, ""),
        (["true"], "nobody-here", ErrorKind::UnknownUser, "nobody-here"),
        (["true"], "4294967296", ErrorKind::UnknownUser, "4294967296"),
    ] {
        let mut spec = sandbox.spec(&args);
        spec["process"]["user"] = json!({"name": user});
        let error = sandbox.run(&spec, None).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
        sandbox.assert_nothing_left(&spec);
    }
}

#[test]
fn a_timeout_kills_everything() {
    let Some(sandbox) = sandbox() else { return };
    let mut spec = sandbox.spec(&["sh", "-c", "echo before; sleep 100 & sleep 100"]);
    spec["timeout_ms"] = json!(300);
    let begin = Instant::now();
    let outcome = sandbox.run(&spec, None).unwrap();
    assert!(outcome.exit.timed_out);
    assert_eq!((outcome.exit.exit_code, outcome.exit.signal), (137, Some(9)));
    assert_eq!(text(&outcome.stdout), "before\n");
    assert!(begin.elapsed() < Duration::from_secs(20));
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn a_background_process_does_not_hang_a_run() {
    let Some(sandbox) = sandbox() else { return };
    let outcome = sandbox.run(&sandbox.spec(&["sh", "-c", "sleep 1000 & echo done"]), None).unwrap();
    assert_eq!(text(&outcome.stdout), "done\n");
}

#[test]
fn an_interrupt_kills_the_container_first() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.spec(&["sleep", "1000"]);
    let directory = sandbox.container_dir(&spec);
    let mut interrupt = || match container::probe(&directory) {
        Ok(probe) if probe.state == container::ContainerState::Running => {
            Err(Error::new(ErrorKind::Cancelled, "enough"))
        }
        _ => Ok(()),
    };
    let bytes = serde_json::to_vec(&spec).unwrap();
    let error = container::run(&directory, &sandbox.trash(), &bytes, None, &mut interrupt).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn an_existing_directory_is_not_touched() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.spec(&["true"]);
    let directory = sandbox.container_dir(&spec);
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("mine"), "").unwrap();
    assert_eq!(sandbox.run(&spec, None).unwrap_err().kind, ErrorKind::AlreadyExists);
    assert!(directory.join("mine").exists());
}

#[test]
fn limits_hold() {
    let Some(sandbox) = sandbox() else { return };
    let mut spec = sandbox.spec(&["tail", "/dev/zero"]);
    spec["limits"] = json!({"memory_bytes": 16 << 20, "memory_swap_bytes": 16 << 20});
    let outcome = sandbox.run(&spec, None).unwrap();
    assert!(outcome.exit.oom_killed, "{:?}", outcome.exit);
    assert_eq!(outcome.exit.exit_code, 137);
    assert!(outcome.exit.peak_memory_bytes.is_some_and(|peak| peak <= 16 << 20));
    sandbox.assert_nothing_left(&spec);

    let mut spec = sandbox.spec(&["sh", "-c", "for n in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo started"]);
    spec["limits"] = json!({"pids": 4});
    let outcome = sandbox.run(&spec, None).unwrap();
    assert!(text(&outcome.stderr).contains("fork"), "{}", text(&outcome.stderr));

    let mut spec = sandbox.spec(&["true"]);
    spec["limits"] = json!({"cpuset_cpus": "0", "cpu_quota_us": 50_000, "cpu_shares": 512});
    assert_eq!(sandbox.run(&spec, None).unwrap().exit.exit_code, 0);
    let mut spec = sandbox.spec(&["true"]);
    spec["limits"] = json!({"cpuset_cpus": "4000"});
    let error = sandbox.run(&spec, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::LimitRefused);
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn forbidden_devices_cannot_be_opened() {
    let Some(sandbox) = sandbox() else { return };
    let script = "mknod /tmp/disk b 254 0 && mknod /tmp/null c 1 3 && cat /tmp/null && echo fine && cat /tmp/disk";
    let outcome = sandbox.run(&sandbox.spec(&["sh", "-c", script]), None).unwrap();
    assert_eq!(text(&outcome.stdout), "fine\n");
    assert!(text(&outcome.stderr).contains("Operation not permitted"), "{}", text(&outcome.stderr));
}

#[test]
fn the_default_filter_refuses_what_breaks_out() {
    let Some(sandbox) = sandbox() else { return };
    let outcome = sandbox.run(&sandbox.spec(&["unshare", "-U", "true"]), None).unwrap();
    assert!(text(&outcome.stderr).contains("Operation not permitted"), "{}", text(&outcome.stderr));
    if !cfg!(target_arch = "x86_64") || !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped: bare calls are made on x86-64 with `/usr/bin/python3`");
        return;
    }
    let script = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(*arguments):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(*map(ctypes.c_long, arguments)) < 0 else 0
calls = (435, 0, 0), (41, 38, 5, 0), (41, (1 << 32) + 38, 5, 0), (41, 40, 1, 0), (425, 1, 0)
print(*(errno_of(*call) for call in calls))
";
    let mut spec = sandbox.spec(&["/usr/bin/python3", "-c", script]);
    spec["root"]["lowers"] = json!([{"kind": "directory", "path": "/"}]);
    let outcome = sandbox.run(&spec, None).unwrap();
    assert_eq!(text(&outcome.stderr), "");
    // clone3 is absent; AF_ALG, AF_ALG behind rubbish, AF_VSOCK and io_uring_setup are refused.
    assert_eq!(text(&outcome.stdout), "38 1 1 1 1\n");

    // The same through the 32-bit entry of the kernel (`int 0x80`): getpid, socket(AF_ALG), socketcall, socket(AF_INET).
    let script = "
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex('53 89f8 89f3 89d1 31d2 cd80 5b 4898 c3'))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
print(call(20, 0, 0), call(359, 38, 5), call(102, 1, 0), call(359, 2, 1))
";
    let mut spec = sandbox.spec(&["/usr/bin/python3", "-c", script]);
    spec["root"]["lowers"] = json!([{"kind": "directory", "path": "/"}]);
    let outcome = sandbox.run(&spec, None).unwrap();
    if outcome.exit.signal == Some(11) {
        eprintln!("skipped: this kernel has no 32-bit entry");
    } else {
        assert_eq!(text(&outcome.stdout), "1 -1 -38 3\n", "{}", text(&outcome.stderr));
    }

    let mut spec = sandbox.spec(&["true"]);
    spec["seccomp"] = json!({"mode": "profile", "profile": {"defaultAction": "SCMP_ACT_NOTIFY"}});
    assert_eq!(sandbox.run(&spec, None).unwrap_err().kind, ErrorKind::BadSeccompProfile);
}
