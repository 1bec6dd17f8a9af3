//! Further processes.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ctr_spec::{FailureKind, NamespaceMode};

use crate::harness::{Container, process, sh};
use crate::needs_root;

#[test]
fn an_exec_is_in_the_container() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let (exit, output, _) =
        running.exec(&sh("hostname; ps | grep -c 'sleep 100'; cat /proc/self/cgroup; exit 4")).unwrap();
    assert_eq!(exit.exit_code, 4);
    assert!(output.starts_with("testhost\n"), "{output}");
    assert!(
        output
            .lines()
            .filter(|line| line.contains(':'))
            .all(|line| line.ends_with(":/") || line.contains("systemd") || !line.contains("ctr-shim-test")),
        "{output}"
    );
    let mut other = process(&["id", "-u"]);
    other.user.name = "app".into();
    assert_eq!(running.exec_with(other, |_| ()).unwrap().1, "1000\n");
    assert_eq!(running.exec(&["ls", "/proc/self/fd"]).unwrap().1, "0\n1\n2\n3\n");
    let caps = running.exec(&["grep", "CapEff", "/proc/self/status"]).unwrap().1;
    assert_eq!(caps, "CapEff:\t00000000a80425fb\n");
    running.signal(9, false);
    running.wait();
}

#[test]
fn failing_execs_leave_the_container_alone() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    assert_eq!(running.exec(&["nothing"]).unwrap_err().kind, FailureKind::CommandNotFound);
    assert_eq!(running.exec(&["noformat"]).unwrap_err().kind, FailureKind::CommandNotExecutable);
    for cwd in ["/proc/self/fd/3", "/absent", "/proc/self/cwd"] {
        let mut process = process(&["pwd"]);
        process.cwd = cwd.into();
        let failure = running.exec_with(process, |_| ()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadWorkingDirectory, "{cwd}");
    }
    for user in ["0x0", "+1", "1:", ":1", "4294967296", " 1", "1 1", "-1"] {
        let mut process = process(&["id"]);
        process.user.name = user.into();
        assert_eq!(running.exec_with(process, |_| ()).unwrap_err().kind, FailureKind::UnknownUser, "{user:?}");
    }
    assert_eq!(running.exec(&["true"]).unwrap().0.exit_code, 0);
    running.signal(9, false);
    running.wait();
}

#[test]
fn a_timeout_kills_the_whole_tree_of_the_exec() {
    needs_root!();
    for pid_mode in [NamespaceMode::Private, NamespaceMode::Host] {
        let mut container = Container::new(&["sleep", "100"]);
        container.spec.namespaces.pid = pid_mode;
        let running = container.start();
        let before = Instant::now();
        let script = "(sleep 4321 & sleep 4321 &) ; sleep 4321";
        let (exit, _, _) = running.exec_with(process(&sh(script)), |spec| spec.timeout_ms = Some(100)).unwrap();
        assert!(exit.timed_out && exit.exit_code == 137, "{exit:?}");
        assert!(before.elapsed() < Duration::from_secs(5));
        let left = running.exec(&sh("ps | grep -c '[s]leep 4321'")).unwrap().1;
        assert_eq!(left, "0\n");
        let quick = running.exec_with(process(&["true"]), |spec| spec.timeout_ms = Some(60_000)).unwrap().0;
        assert!(!quick.timed_out);
        running.signal(9, false);
        running.wait();
    }
}

#[test]
fn execs_end_with_the_container() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let end = std::thread::scope(|scope| {
        let exec = scope.spawn(|| running.exec(&sh("echo > /tmp/up; sleep 1000")));
        let sign = running.container.directory().join("upper/tmp/up");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !sign.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.signal(9, false);
        exec.join().unwrap()
    });
    assert_eq!(end.unwrap().0.exit_code, 137);
    running.wait();
}

/// The container's processes can stop a process that is just coming into their pid namespace, before its program runs.
#[test]
fn a_container_that_stops_every_exec_does_not_stop_its_supervisor() {
    needs_root!();
    let running = Container::new(&sh("while :; do kill -STOP -1; done")).start();
    std::thread::scope(|scope| {
        let execs: Vec<_> = (0..8).map(|_| scope.spawn(|| running.exec(&["true"]))).collect();
        std::thread::sleep(Duration::from_millis(300));
        let before = Instant::now();
        running.signal(9, false);
        assert!(before.elapsed() < Duration::from_secs(5), "the supervisor was held up");
        for exec in execs {
            match exec.join().unwrap() {
                Ok((exit, ..)) => assert!(matches!(exit.exit_code, 0 | 137), "{exit:?}"),
                // Killed with the container, although the supervisor may hear of this end first.
                Err(failure) => assert_eq!(failure.kind, FailureKind::NotRunning, "{failure:?}"),
            }
        }
    });
    running.wait();
}

#[test]
fn a_stopped_exec_ends_with_its_time_and_with_its_client() {
    needs_root!();
    let running = Container::new(&sh("while :; do kill -STOP -1; done")).start();
    for _ in 0..8 {
        // Stopped before or after its program ran: both end.
        match running.exec_with(process(&["sleep", "100"]), |spec| spec.timeout_ms = Some(200)) {
            Ok((exit, ..)) => assert!(exit.timed_out, "{exit:?}"),
            Err(failure) => assert!(failure.detail.contains("time was over"), "{failure:?}"),
        }
    }
    running.signal(9, false);
    running.wait();
}

#[test]
fn an_exec_gets_a_terminal() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let script = "stty size; tty; read x; echo got $x; test -t 0";
    let (exit, _, fds) = std::thread::scope(|scope| {
        let handle = scope.spawn(|| {
            running.exec_with(process(&sh(script)), |spec| {
                spec.terminal = Some((40, 120));
                spec.process.args[2] = "stty size; tty; test -t 0".into();
            })
        });
        handle.join().unwrap()
    })
    .unwrap();
    assert_eq!(exit.exit_code, 0);
    let mut master = File::from(fds.into_iter().next().expect("the master side"));
    let mut bytes = vec![0; 4096];
    let count = master.read(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    assert!(text.starts_with("40 120"), "{text}");
    let _ = master.write(b"x");
    running.signal(9, false);
    running.wait();
}
