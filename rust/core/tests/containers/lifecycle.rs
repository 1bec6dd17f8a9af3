//! Containers that live longer than one call: states, execs, signals, repairs.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::sandbox::{exec_spec, groups_of, id_of, sandbox, text};
use ctr_core::ErrorKind;
use ctr_core::container::{self, ContainerState, ExecStreams, StartStreams, never};
use serde_json::json;

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

const SOON: Option<Duration> = Some(Duration::from_secs(10));

#[test]
fn a_container_goes_through_its_states() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.service(&["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"]);
    let directory = sandbox.container_dir(&spec);
    let state = || container::probe(&directory).unwrap().state;
    assert_eq!(state(), ContainerState::Gone);
    container::create(&directory, &bytes(&spec)).unwrap();
    assert_eq!(container::create(&directory, &bytes(&spec)).unwrap_err().kind, ErrorKind::AlreadyExists);
    assert_eq!(state(), ContainerState::Created);
    assert_eq!(container::wait(&directory, SOON, &mut never()).unwrap(), None);
    assert_eq!(container::signal(&directory, 15, false).unwrap_err().kind, ErrorKind::NotRunning);

    let (mut reader, writer) = std::io::pipe().unwrap();
    let streams = StartStreams { stdout_sink: Some(writer.as_fd()), ..StartStreams::default() };
    let started = container::start(&directory, &sandbox.trash(), streams, &mut never()).unwrap();
    drop(writer);
    let mut word = [0; 3];
    reader.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"up\n");
    let probe = container::probe(&directory).unwrap();
    assert_eq!(probe.state, ContainerState::Running);
    assert_eq!(probe.started.unwrap().pid, started.pid);
    let again = container::start(&directory, &sandbox.trash(), StartStreams::default(), &mut never());
    assert_eq!(again.unwrap_err().kind, ErrorKind::AlreadyRunning);
    let removed = container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never());
    assert_eq!(removed.unwrap_err().kind, ErrorKind::AlreadyRunning);
    assert_eq!(container::repair(&directory, id_of(&spec)).unwrap().state, ContainerState::Running);
    assert_eq!(started.session.wait(Some(Duration::from_millis(20)), &mut never()).unwrap(), None);
    assert_eq!(container::wait(&directory, Some(Duration::from_millis(20)), &mut never()).unwrap(), None);

    let waiter = {
        let directory = directory.clone();
        std::thread::spawn(move || container::wait(&directory, SOON, &mut never()))
    };
    container::signal(&directory, 15, false).unwrap();
    assert_eq!(started.session.wait(SOON, &mut never()).unwrap().unwrap().exit_code, 7);
    assert_eq!(waiter.join().unwrap().unwrap().unwrap().exit_code, 7);
    assert_eq!(container::wait(&directory, SOON, &mut never()).unwrap().unwrap().exit_code, 7);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(state(), ContainerState::Exited);

    // An ended container starts again at once, although its shim may still be cleaning up.
    let started = container::start(&directory, &sandbox.trash(), StartStreams::default(), &mut never()).unwrap();
    container::signal(&directory, 9, true).unwrap();
    let exit = started.session.wait(SOON, &mut never()).unwrap().unwrap();
    assert_eq!((exit.exit_code, exit.signal), (137, Some(9)));
    container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
    container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
    sandbox.assert_nothing_left(&spec);
    assert_eq!(std::fs::read_dir(sandbox.trash()).unwrap().count(), 0);
}

#[test]
fn further_processes_run_in_a_container() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.service(&["sleep", "1000"]);
    let directory = sandbox.container_dir(&spec);
    let _started = sandbox.start(&spec).unwrap();
    let capture = |spec: &serde_json::Value, input: Option<&[u8]>| {
        container::exec_capture(&directory, &bytes(spec), input, &mut never())
    };
    let outcome = capture(&exec_spec(&["sh", "-c", "cat; echo err >&2; exit 5"]), Some(b"input")).unwrap();
    assert_eq!((text(&outcome.stdout), text(&outcome.stderr)), ("input", "err\n"));
    assert_eq!(outcome.exit.exit_code, 5);
    assert_eq!(capture(&exec_spec(&["nothing"]), None).unwrap_err().kind, ErrorKind::CommandNotFound);

    let mut slow = exec_spec(&["sh", "-c", "sleep 1000 & sleep 1000"]);
    slow["timeout_ms"] = json!(200);
    let begin = Instant::now();
    let outcome = capture(&slow, None).unwrap();
    assert!(outcome.exit.timed_out && begin.elapsed() < Duration::from_secs(20));
    // Of the tree of the exec that timed out nothing lives; the container's own program does.
    let listed = capture(&exec_spec(&["sh", "-c", "cat /proc/[0-9]*/cmdline"]), None).unwrap();
    assert_eq!(text(&listed.stdout).matches("sleep").count(), 1, "{:?}", text(&listed.stdout));

    let (mut reader, writer) = std::io::pipe().unwrap();
    let streams = ExecStreams { stdout: Some(writer.as_fd()), ..ExecStreams::default() };
    let exec =
        container::exec(&directory, &bytes(&exec_spec(&["echo", "hello"])), streams, false, &mut never()).unwrap();
    drop(writer);
    assert_eq!(exec.session.wait(SOON, &mut never()).unwrap().unwrap().exit_code, 0);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "hello\n");

    container::signal(&directory, 9, false).unwrap();
    container::wait(&directory, SOON, &mut never()).unwrap().unwrap();
    assert_eq!(capture(&exec_spec(&["true"]), None).unwrap_err().kind, ErrorKind::NotRunning);
}

#[test]
fn a_terminal_has_its_size() {
    let Some(sandbox) = sandbox() else { return };
    let mut spec = sandbox.service(&["sh", "-c", "stty size; read line; stty size; exit 4"]);
    spec["stdio"] = json!({"mode": "terminal", "rows": 20, "columns": 70});
    let directory = sandbox.container_dir(&spec);
    container::create(&directory, &bytes(&spec)).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let streams = StartStreams { stdout_sink: Some(writer.as_fd()), attach_stdin: true, ..StartStreams::default() };
    let started = container::start(&directory, &sandbox.trash(), streams, &mut never()).unwrap();
    drop(writer);
    container::resize(&directory, 30, 90).unwrap();
    let terminal = started.stdin.take().unwrap();
    assert!(started.stdin.take().is_none());
    rustix::io::write(&terminal, b"\n").unwrap();
    assert_eq!(started.session.wait(SOON, &mut never()).unwrap().unwrap().exit_code, 4);
    drop(terminal);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert!(output.contains("30 90"), "{output}");
}

#[test]
fn a_late_client_gets_the_output_from_then_on() {
    let Some(sandbox) = sandbox() else { return };
    let mut spec = sandbox.service(&["sh", "-c", "read line; echo got $line"]);
    spec["stdio"] = json!({"mode": "piped", "open_stdin": true, "stdin_once": true});
    let directory = sandbox.container_dir(&spec);
    let _started = sandbox.start(&spec).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let streams = StartStreams { stdout_sink: Some(writer.as_fd()), attach_stdin: true, ..StartStreams::default() };
    let attachment = container::attach(&directory, streams, &mut never()).unwrap();
    drop(writer);
    rustix::io::write(attachment.stdin.take().unwrap(), b"it\n").unwrap();
    assert_eq!(attachment.session.wait(SOON, &mut never()).unwrap().unwrap().exit_code, 0);
    let mut output = String::new();
    reader.read_to_string(&mut output).unwrap();
    assert_eq!(output, "got it\n");
    let late = container::attach(&directory, StartStreams::default(), &mut never());
    assert_eq!(late.unwrap_err().kind, ErrorKind::NotRunning);
}

#[test]
fn a_killed_shim_is_found_and_repaired() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.service(&["sh", "-c", "sleep 1000 & sleep 1000"]);
    let directory = sandbox.container_dir(&spec);
    let started = sandbox.start(&spec).unwrap();
    let record = container::probe(&directory).unwrap().started.unwrap();
    let shim = rustix::process::Pid::from_raw(record.shim_pid.cast_signed()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    assert_eq!(started.session.wait(SOON, &mut never()).unwrap_err().kind, ErrorKind::ShimLost);
    let deadline = Instant::now() + Duration::from_secs(5);
    while container::probe(&directory).unwrap().state == ContainerState::Running {
        assert!(Instant::now() < deadline, "the lock outlives the shim");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(container::probe(&directory).unwrap().state, ContainerState::Dead);
    assert_eq!(container::wait(&directory, SOON, &mut never()).unwrap_err().kind, ErrorKind::ShimLost);
    assert!(!groups_of(id_of(&spec)).is_empty());

    let probe = container::repair(&directory, id_of(&spec)).unwrap();
    assert_eq!(probe.state, ContainerState::Exited);
    let exit = probe.exit.unwrap();
    assert_eq!(exit.exit_code, 137);
    assert!(container::sentence(&exit.failure.unwrap()).contains("shim was killed"));
    assert!(groups_of(id_of(&spec)).is_empty());
    // Whoever adopted it may not have reaped it yet.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", record.pid)).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z ") || status.contains(") X "), "{status}");
    // And it can be started again.
    let started = container::start(&directory, &sandbox.trash(), StartStreams::default(), &mut never()).unwrap();
    container::signal(&directory, 9, true).unwrap();
    started.session.wait(SOON, &mut never()).unwrap().unwrap();
    container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn a_failed_start_leaves_a_container_that_can_be_started_and_removed() {
    let Some(sandbox) = sandbox() else { return };
    let spec = sandbox.service(&["nothing"]);
    let directory = sandbox.container_dir(&spec);
    assert_eq!(sandbox.start(&spec).unwrap_err().kind, ErrorKind::CommandNotFound);
    let again = container::start(&directory, &sandbox.trash(), StartStreams::default(), &mut never());
    assert_eq!(again.unwrap_err().kind, ErrorKind::CommandNotFound);
    assert!(groups_of(id_of(&spec)).is_empty());
    container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
    sandbox.assert_nothing_left(&spec);
}

#[test]
fn a_container_that_removes_itself_may_also_be_removed() {
    let Some(sandbox) = sandbox() else { return };
    for _ in 0..10 {
        let mut spec = sandbox.service(&["sleep", "1000"]);
        spec["auto_remove"] = json!(true);
        let directory = sandbox.container_dir(&spec);
        let started = sandbox.start(&spec).unwrap();
        container::signal(&directory, 9, false).unwrap();
        started.session.wait(SOON, &mut never()).unwrap().unwrap();
        container::remove(&directory, id_of(&spec), &sandbox.trash(), &mut never()).unwrap();
        sandbox.assert_nothing_left(&spec);
    }
}
