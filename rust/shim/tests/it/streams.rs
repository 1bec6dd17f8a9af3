//! Logs, attached clients, terminals.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use ctr_spec::{AttachRequest, FdRole, LogDriver, ShimReply, ShimRequest, StdioMode, files};

use crate::harness::{Container, receive, sh};
use crate::needs_root;

const PIPED: StdioMode = StdioMode::Piped { open_stdin: false, stdin_once: false };

fn log_lines(text: &str, stream: &str) -> String {
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|value| value["stream"] == stream)
        .map(|value| value["log"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn output_goes_to_the_log() {
    needs_root!();
    let mut container = Container::new(&sh("echo one; echo two >&2; printf 'no newline'"));
    container.spec.stdio = PIPED;
    let ended = container.start().wait();
    let text = fs::read_to_string(ended.container.directory().join(files::LOG)).unwrap();
    assert_eq!(log_lines(&text, "stdout"), "one\nno newline");
    assert_eq!(log_lines(&text, "stderr"), "two\n");
}

#[test]
fn logs_rotate() {
    needs_root!();
    let mut container = Container::new(&["seq", "1", "2000"]);
    container.spec.stdio = PIPED;
    container.spec.log.max_size_bytes = 10_000;
    container.spec.log.max_files = 3;
    let ended = container.start().wait();
    let directory = ended.container.directory();
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let all = log_lines(&(read("container.log.2") + &read("container.log.1") + &read("container.log")), "stdout");
    let numbers: Vec<u32> = all.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&2000));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing is lost between files");
    assert!(!directory.join("container.log.3").exists());
}

#[test]
fn the_starter_is_attached_from_the_first_byte_and_loses_nothing() {
    needs_root!();
    let mut container = Container::new(&sh("seq 1 100000; echo end >&2"));
    container.spec.stdio = PIPED;
    container.spec.log.driver = LogDriver::None;
    let (mut out, out_writer) = std::io::pipe().unwrap();
    let (mut err, err_writer) = std::io::pipe().unwrap();
    let running = container.start_with(
        Some(AttachRequest { stdin: false, is_lossless: true }),
        vec![(FdRole::SinkStdout, out_writer.into()), (FdRole::SinkStderr, err_writer.into())],
    );
    // Much more than any pipe holds, and nobody reads for a while.
    std::thread::sleep(Duration::from_millis(200));
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(text.lines().zip(1..=100_000).all(|(line, number)| line == number.to_string()));
    assert_eq!(text.len(), 588_895);
    text.clear();
    err.read_to_string(&mut text).unwrap();
    assert_eq!(text, "end\n");
    let ended = running.wait();
    assert!(!ended.container.directory().join(files::LOG).exists());
}

#[test]
fn a_lossless_client_that_leaves_does_not_hold_the_container() {
    needs_root!();
    let mut container = Container::new(&sh("seq 1 100000"));
    container.spec.stdio = PIPED;
    let running = container.start();
    let (kept, writer) = std::io::pipe().unwrap();
    let attach = ShimRequest::Attach {
        request: AttachRequest { stdin: false, is_lossless: true },
        fds: vec![FdRole::SinkStdout],
    };
    if let Ok(socket) = std::os::unix::net::UnixStream::connect(running.container.directory().join(files::SOCKET)) {
        let socket = OwnedFd::from(socket);
        crate::harness::send(&socket, &attach, &[writer.into()]);
        let _ = receive(&socket);
        std::thread::sleep(Duration::from_millis(50));
        drop(socket);
    }
    let ended = running.wait();
    drop(kept);
    let text = fs::read_to_string(ended.container.directory().join(files::LOG)).unwrap();
    assert!(log_lines(&text, "stdout").ends_with("\n100000\n"));
}

#[test]
fn stdin_is_written_and_ends() {
    needs_root!();
    let mut container = Container::new(&["wc", "-c"]);
    container.spec.stdio = StdioMode::Piped { open_stdin: true, stdin_once: true };
    let (mut out, out_writer) = std::io::pipe().unwrap();
    let mut running = container.start_with(
        Some(AttachRequest { stdin: true, is_lossless: true }),
        vec![(FdRole::SinkStdout, out_writer.into())],
    );
    let mut stdin = File::from(running.fds.pop().expect("the writing end"));
    stdin.write_all(&vec![b'x'; 100_000]).unwrap();
    drop(stdin);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text.trim(), "100000");
    running.wait();
}

#[test]
fn a_terminal_with_resize() {
    needs_root!();
    let mut container = Container::new(&sh(
        "stty size; tty; stat -c %t:%T /dev/console; trap 'stty size; exit 6' WINCH; echo ready; while :; do sleep 0.02; done",
    ));
    container.spec.stdio = StdioMode::Terminal { rows: 24, columns: 80 };
    let (mut out, out_writer) = std::io::pipe().unwrap();
    let running = container.start_with(
        Some(AttachRequest { stdin: true, is_lossless: true }),
        vec![(FdRole::SinkStdout, out_writer.into())],
    );
    let mut text = String::new();
    let mut byte = [0];
    while !text.contains("ready") {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "{text}");
        text.push(byte[0] as char);
    }
    assert!(text.starts_with("24 80\r\n/dev/pts/0\r\n88:0\r\n"), "{text:?}");
    assert_eq!(running.ask(&ShimRequest::Resize { rows: 30, columns: 90 }, &[]).1, ShimReply::Done);
    out.read_to_string(&mut text).unwrap();
    assert!(text.contains("30 90\r\n"), "{text:?}");
    let ended = running.wait();
    assert_eq!(ended.record.exit_code, 6);
    let log = fs::read_to_string(ended.container.directory().join(files::LOG)).unwrap();
    assert!(log_lines(&log, "stdout").contains("30 90"));
}

#[test]
fn later_clients_attach_and_wait() {
    needs_root!();
    let mut container = Container::new(&sh("while [ ! -e /go ]; do sleep 0.02; done; echo late"));
    container.spec.stdio = PIPED;
    let running = container.start();
    let (mut out, writer) = std::io::pipe().unwrap();
    let attach = ShimRequest::Attach { request: AttachRequest::default(), fds: vec![FdRole::SinkStdout] };
    let (socket, reply, _) = running.ask(&attach, &[writer.into()]);
    assert_eq!(reply, ShimReply::Attached { fds: vec![] });
    let waiter = running.connect();
    crate::harness::send(&waiter, &ShimRequest::Wait, &[]);
    running.exec(&["touch", "/go"]).unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late\n");
    assert!(matches!(receive(&socket).0, Some(ShimReply::Exited { .. })));
    assert!(matches!(receive(&waiter).0, Some(ShimReply::Exited { .. })));
    running.wait();
}
