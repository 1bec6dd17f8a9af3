//! The program: status, who it is, where it is, what it has.

use std::fs;

use ctr_spec::{FailureKind, Rlimit};

use crate::harness::{Container, sh};
use crate::needs_root;

#[test]
fn exit_codes_and_signals() {
    needs_root!();
    let ended = Container::new(&sh("exit 7")).run();
    assert_eq!((ended.record.exit_code, ended.record.signal), (7, None));
    assert!(ended.record.duration_ns > 0 && ended.record.started_at_ns > 0);
    let text = fs::read(ended.container.directory().join("exit.json")).unwrap();
    assert_eq!(serde_json::from_slice::<ctr_spec::ExitRecord>(&text).unwrap(), ended.record);
    let started = fs::read(ended.container.directory().join("started.json")).unwrap();
    let started: ctr_spec::StartedRecord = serde_json::from_slice(&started).unwrap();
    assert!(started.pid > 1 && started.pid_start_time > 0 && started.shim_pid > 1);
    let running = Container::new(&["sleep", "100"]).start();
    running.signal(9, false);
    let record = running.wait().record;
    assert_eq!((record.exit_code, record.signal), (137, Some(9)));
}

#[test]
fn programs_that_are_not_there_or_cannot_be_executed() {
    needs_root!();
    for (name, kind, detail) in [
        ("nothing", FailureKind::CommandNotFound, "PATH"),
        ("/bin/nothing", FailureKind::CommandNotFound, "no such file"),
        ("", FailureKind::CommandNotFound, "empty"),
        ("nopermission", FailureKind::CommandNotExecutable, "permission"),
        ("noformat", FailureKind::CommandNotExecutable, "neither a program"),
        ("nointerpreter", FailureKind::CommandNotExecutable, "/no/such/thing"),
        ("/etc", FailureKind::CommandNotExecutable, "directory"),
    ] {
        let failure = Container::new(&[name]).fail();
        assert_eq!(failure.kind, kind, "{name}: {failure:?}");
        assert!(failure.detail.contains(detail), "{name}: {failure:?}");
    }
}

#[test]
fn malformed_users_never_run() {
    needs_root!();
    for user in ["0x0", "+1", "1:", ":1", " 1", "1 1", "4294967295", "-1", "4294967296", "nobody", "app:none"] {
        let mut container = Container::new(&["id"]);
        container.spec.process.user.name = user.into();
        assert_eq!(container.fail().kind, FailureKind::UnknownUser, "{user:?}");
    }
}

#[test]
fn users_groups_home_and_environment() {
    needs_root!();
    for (user, expected) in [
        ("", "uid=0(root) gid=0(root) groups=0(root) HOME=/root"),
        ("app", "uid=1000(app) gid=1001 groups=10(wheel),1001 HOME=/home/app"),
        ("1000:5", "uid=1000(app) gid=5 groups=5 HOME=/home/app"),
        ("77", "uid=77 gid=0(root) groups=0(root) HOME=/"),
    ] {
        let mut container = Container::new(&sh("echo $(id) HOME=$HOME $A"));
        container.spec.process.user.name = user.into();
        container.spec.process.env.push("A=b c".into());
        let output = container.run().stdout.replace(" context=", "");
        let mut words: Vec<&str> = output.split_whitespace().collect();
        assert_eq!(words.split_off(words.len() - 2), ["b", "c"]);
        assert_eq!(words.join(" "), expected);
    }
}

#[test]
fn the_working_directory_is_made_and_stays_inside() {
    needs_root!();
    let mut container = Container::new(&["pwd"]);
    container.spec.process.cwd = "/a/b c/d".into();
    assert_eq!(container.run().stdout, "/a/b c/d\n");
    for cwd in ["/proc/self/fd/5", "/proc/self/cwd", "/proc/self/root/tmp", "/etc/passwd"] {
        let mut container = Container::new(&["pwd"]);
        container.spec.process.cwd = cwd.into();
        assert_eq!(container.fail().kind, FailureKind::BadWorkingDirectory, "{cwd}");
    }
    let canary = tempfile::tempdir().unwrap();
    let mut container = Container::new(&["pwd"]);
    std::os::unix::fs::symlink(canary.path(), container.layer.join("link")).unwrap();
    container.spec.process.cwd = "/link/made".into();
    container.fail();
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
}

#[test]
fn capabilities_are_exactly_those_given() {
    needs_root!();
    let output = Container::new(&sh("grep ^Cap /proc/self/status")).run().stdout;
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";
    assert_eq!(output, expected);
    let mut container =
        Container::new(&sh("grep -E '^(Cap(Prm|Eff|Inh)|NoNewPrivs)' /proc/self/status | tr '\\n' ' '"));
    container.spec.process.user.name = "app".into();
    container.spec.process.no_new_privileges = true;
    let zero = "0000000000000000";
    let expected = format!("CapInh:\t{zero} CapPrm:\t{zero} CapEff:\t{zero} NoNewPrivs:\t1 ");
    assert_eq!(container.run().stdout, expected);
}

#[test]
fn only_three_descriptors_default_signals_and_a_session() {
    needs_root!();
    // The fourth is the directory that ls reads.
    assert_eq!(Container::new(&["ls", "/proc/self/fd"]).run().stdout, "0\n1\n2\n3\n");
    let ended = Container::new(&["grep", "-E", "^Sig(Blk|Ign)|^NSsid", "/proc/self/status"]).run();
    assert_eq!(ended.stdout, "NSsid:\t1\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let mut container = Container::new(&sh("umask"));
    container.spec.process.umask = Some(0o077);
    assert_eq!(container.run().stdout, "0077\n");
}

#[test]
fn resource_limits_are_set_lowered_or_refused() {
    needs_root!();
    let limit = |soft, hard, is_required| Rlimit { resource: 7, name: "nofile".into(), soft, hard, is_required };
    let mut container = Container::new(&sh("ulimit -Sn; ulimit -Hn"));
    container.spec.process.rlimits = vec![limit(100, 200, true)];
    assert_eq!(container.run().stdout, "100\n200\n");
    if ctr_sys::process::set_resource_limit(7, 1024, 1 << 40).is_ok() {
        eprintln!("skipped: this user may raise every limit");
        return;
    }
    let mut container = Container::new(&["true"]);
    container.spec.process.rlimits = vec![limit(1 << 40, 1 << 40, true)];
    assert_eq!(container.fail().kind, FailureKind::LimitRefused);
    let mut container = Container::new(&["true"]);
    container.spec.process.rlimits = vec![limit(1 << 40, 1 << 40, false)];
    let running = container.start();
    assert!(running.warnings[0].contains("nofile"), "{:?}", running.warnings);
    assert_eq!(running.wait().record.exit_code, 0);
}

#[test]
fn an_init_of_ours_forwards_and_reaps() {
    needs_root!();
    let mut container =
        Container::new(&sh("trap 'exit 9' TERM; (sleep 0.05 &); sleep 0.2; echo $$; kill -TERM $$; sleep 5"));
    container.spec.init = true;
    let ended = container.run();
    assert_eq!((ended.record.exit_code, ended.stdout.as_str()), (9, "2\n"));
    let mut container = Container::new(&["nothing"]);
    container.spec.init = true;
    assert_eq!(container.fail().kind, FailureKind::CommandNotFound);
    let mut container = Container::new(&sh("trap 'exit 5' TERM; while :; do sleep 0.01; done"));
    container.spec.init = true;
    let running = container.start();
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal(15, false);
    assert_eq!(running.wait().record.exit_code, 5);
}

#[test]
fn a_filter_is_installed_and_malformed_ones_refused() {
    needs_root!();
    // ret ERRNO(EPERM) for mkdir and mkdirat, ret ALLOW else; x86-64 numbers are looked up from libc.
    let statement = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    let mkdirs = if cfg!(target_arch = "x86_64") { [83, 258] } else { [34, 34] };
    let program = [
        statement(0x20, 0, 0, 0),
        statement(0x15, 1, 0, mkdirs[0]),
        statement(0x15, 0, 1, mkdirs[1]),
        statement(0x06, 0, 0, 0x0005_0001),
        statement(0x06, 0, 0, 0x7fff_0000),
    ]
    .concat();
    for no_new_privileges in [false, true] {
        let mut container = Container::new(&sh("mkdir /tmp/x; grep Seccomp: /proc/self/status"));
        container.seccomp = Some(program.clone());
        container.spec.process.no_new_privileges = no_new_privileges;
        let ended = container.run();
        assert!(ended.stderr.contains("Operation not permitted"), "{}", ended.stderr);
        assert!(ended.stdout.contains("Seccomp:\t2"));
    }
    let mut container = Container::new(&["true"]);
    container.seccomp = Some(vec![1, 2, 3]);
    container.fail();
}
