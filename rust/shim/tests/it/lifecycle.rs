//! The shim itself: bad clients, being killed, leaving nothing.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ctr_spec::{ExecSpec, FailureKind, NamespaceMode, SPEC_VERSION, ShimReply, ShimRequest, StartedRecord, files};

use crate::harness::{Container, Running, process, sh};
use crate::needs_root;

fn shim_pid(directory: &std::path::Path) -> u32 {
    let text = fs::read(directory.join(files::STARTED)).unwrap();
    serde_json::from_slice::<StartedRecord>(&text).unwrap().shim_pid
}

fn open(pid: u32) -> OwnedFd {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

fn ends(process: &OwnedFd) -> bool {
    let mut waited = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    rustix::event::poll(&mut waited, Some(&limit)).unwrap() == 1
}

/// What the killed shim could not do, the next comer does.
fn clean_up_after_killed_shim(running: &Running) {
    for dir in &running.container.cgroups.dirs {
        let path = std::path::Path::new(&dir.mount).join(&dir.parent).join(&dir.name);
        ctr_sys::cgroupfs::kill(&path).unwrap();
        ctr_sys::cgroupfs::remove(&path).unwrap();
        let _ = fs::remove_dir(path.parent().unwrap());
    }
}

/// In the host's pid namespace nothing but the supervisor's death ends them; so in that of another container.
#[test]
fn a_killed_shim_takes_execs_and_joined_containers_along() {
    needs_root!();
    let first = Container::new(&["sleep", "1000"]).start();
    for mode in [NamespaceMode::Host, NamespaceMode::Process { pid: first.pid, start_time: 0 }] {
        let mut container = Container::new(&["sleep", "1000"]);
        container.spec.namespaces.pid = mode;
        container.spec.process.user.name = "app".into();
        let running = container.start();
        let mut program = process(&["sleep", "1000"]);
        program.user.name = "app".into();
        let spec = ExecSpec {
            version: SPEC_VERSION,
            id: "e".repeat(64),
            process: program,
            terminal: None,
            is_privileged: false,
            timeout_ms: None,
        };
        let request = ShimRequest::Exec { spec: Box::new(spec), fds: Vec::new(), detach: true };
        let ShimReply::ExecStarted { pid, .. } = running.ask(&request, &[]).1 else { panic!("not started") };
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
        let processes = [open(running.pid), open(pid)];
        let shim = open(shim_pid(&running.container.directory()));
        ctr_sys::process::signal(shim.as_fd(), 9).unwrap();
        let ended: Vec<bool> = processes.iter().map(ends).collect();
        clean_up_after_killed_shim(&running);
        assert_eq!(ended, [true, true]);
    }
    first.signal(9, false);
    first.wait();
}

#[test]
fn a_killed_shim_takes_the_container_along() {
    needs_root!();
    for init in [false, true] {
        let mut container = Container::new(&sh("sleep 1000 & sleep 1000"));
        container.spec.init = init;
        container.spec.process.user.name = "app".into();
        let running = container.start();
        let program = open(running.pid);
        let shim = open(shim_pid(&running.container.directory()));
        ctr_sys::process::signal(shim.as_fd(), 9).unwrap();
        let ended = ends(&program);
        clean_up_after_killed_shim(&running);
        assert!(ended, "the program still runs");
        let lock = File::open(running.container.directory().join(files::LOCK)).unwrap();
        assert!(!ctr_sys::lock::is_locked(lock.as_fd()).unwrap());
    }
}

#[test]
fn a_term_signal_to_the_shim_is_forwarded() {
    needs_root!();
    let running = Container::new(&sh("trap 'exit 8' TERM; echo > /ready; while :; do sleep 0.01; done")).start();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !running.container.directory().join("upper/ready").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    ctr_sys::process::signal(open(shim_pid(&running.container.directory())).as_fd(), 15).unwrap();
    assert_eq!(running.wait().record.exit_code, 8);
}

#[test]
fn bad_and_silent_clients_change_nothing() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let mut clients: Vec<UnixStream> =
        (0..20).map(|_| UnixStream::connect(running.container.directory().join(files::SOCKET)).unwrap()).collect();
    clients[0].write_all(&u32::MAX.to_le_bytes()).unwrap();
    clients[1].write_all(&4u32.to_le_bytes()).unwrap();
    clients[1].write_all(b"nope").unwrap();
    clients[2].write_all(&[9]).unwrap();
    clients[3].write_all(&100u32.to_le_bytes()).unwrap();
    let (_, reply, _) = running.ask(&ShimRequest::Signal { signal: 4711, all: false }, &[]);
    assert!(matches!(reply, ShimReply::Failed { failure } if failure.kind == FailureKind::BadRequest));
    let (_, reply, _) = running.ask(&ShimRequest::Resize { rows: 1, columns: 1 }, &[]);
    assert!(matches!(reply, ShimReply::Failed { failure } if failure.kind == FailureKind::BadRequest));
    assert_eq!(running.exec(&["true"]).unwrap().0.exit_code, 0);
    running.signal(9, true);
    assert_eq!(running.wait().record.exit_code, 137);
}

#[test]
fn a_container_for_one_use_is_removed() {
    needs_root!();
    let mut container = Container::new(&sh("mkdir -p /a/b/c; echo x > /a/b/c/d"));
    container.spec.auto_remove = true;
    let running = container.start();
    let directory = running.container.directory();
    let trash = running.container.place.path().join("trash");
    let _ended = running.wait();
    let deadline = Instant::now() + Duration::from_secs(5);
    while directory.exists() || fs::read_dir(&trash).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "still there");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_starter_may_go_away() {
    needs_root!();
    let running = Container::new(&sh("sleep 0.2; echo x > /done; exit 2")).start();
    let waiter = running.connect();
    crate::harness::send(&waiter, &ShimRequest::Wait, &[]);
    drop(running.control);
    let Some(ShimReply::Exited { record }) = crate::harness::receive(&waiter).0 else { panic!("no record") };
    assert_eq!(record.exit_code, 2);
    running.container.assert_nothing_left();
}

#[test]
fn the_socket_is_for_the_owner_alone() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let mode = fs::metadata(running.container.directory().join(files::SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.signal(9, false);
    running.wait();
}

#[test]
fn a_container_starts_again_in_its_directory() {
    needs_root!();
    let first = Container::new(&sh("echo again > /kept")).run();
    let mut again = first.container;
    again.spec.process.args = vec!["cat".into(), "/kept".into()];
    assert_eq!(again.run().stdout, "again\n");
}
