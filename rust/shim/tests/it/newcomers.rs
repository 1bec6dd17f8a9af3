//! What the processes of a container can see of one that is just coming into their pid namespace: with `SYS_PTRACE` they
//! look through its `root`, its `cwd` and its descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ctr_spec::{FailureKind, NamespaceMode, Rlimit};

use crate::harness::{CAPABILITIES, Container, Running, process, sh};
use crate::needs_root;

/// A system call filter of one instruction.
const ALLOW_ALL: [u8; 8] = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];
const SYS_PTRACE: u64 = 1 << 19;

/// Looks at every newcomer in the container's own `/proc` until told to stop: with the rights of this test, which are
/// more than any container's.
struct Watch {
    proc: PathBuf,
    /// File systems of the host and of the supervisor.
    foreign: [u64; 2],
    old: BTreeSet<String>,
    seen: BTreeSet<String>,
    found: BTreeSet<String>,
}

impl Watch {
    fn new(running: &Running) -> Self {
        let proc = PathBuf::from(format!("/proc/{}/root/proc", running.pid));
        let foreign = [Path::new("/"), &running.container.directory()].map(|path| device(path).unwrap());
        let old = processes(&proc);
        Self { proc, foreign, old, seen: BTreeSet::new(), found: BTreeSet::new() }
    }

    fn look(mut self, stop: &AtomicBool) -> Self {
        while !stop.load(Ordering::Relaxed) {
            for pid in processes(&self.proc) {
                if !self.old.contains(&pid) {
                    self.inspect(&pid);
                    self.seen.insert(pid);
                }
            }
        }
        self
    }

    fn inspect(&mut self, pid: &str) {
        let place = self.proc.join(pid);
        for link in ["root/", "cwd/"] {
            if device(&place.join(link)).is_some_and(|found| self.foreign.contains(&found)) {
                self.found.insert(format!("foreign {link}"));
            }
        }
        for entry in fs::read_dir(place.join("fd")).into_iter().flatten().flatten() {
            let number = entry.file_name().into_string().unwrap();
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let is_own = match number.as_str() {
                "0" | "1" | "2" => target == "/dev/null" || target.starts_with("pipe:"),
                // The channel of reports, and for a moment `--init` has the program that it started.
                _ => target.starts_with("socket:") || target == "anon_inode:[pidfd]" && is_inside(&place, &number),
            };
            if !is_own {
                self.found.insert(format!("descriptor {target}"));
            }
        }
        let Ok(status) = fs::read_to_string(place.join("status")) else { return };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map_or("", str::trim);
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let capabilities = u64::from_str_radix(field(set), 16).unwrap_or(0);
            if capabilities & !(CAPABILITIES | SYS_PTRACE) != 0 {
                self.found.insert(format!("{set} {capabilities:x}"));
            }
        }
        // An ended process has let go of its filter.
        if field("Seccomp:") == "0" && !matches!(field("State:").chars().next(), Some('Z' | 'X')) {
            self.found.insert("no system call filter".into());
        }
    }
}

/// Whether the process of a pidfd is in the pid namespace.
fn is_inside(process: &Path, number: &str) -> bool {
    let text = fs::read_to_string(process.join("fdinfo").join(number)).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .is_none_or(|pid| pid.trim().parse().is_ok_and(|pid: i32| pid != 0))
}

fn device(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|status| status.dev())
}

fn processes(proc: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(proc).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.parse::<u32>().is_ok()).collect()
}

/// Watches while `act` runs; how many newcomers were seen is told, for a test that cannot fail proves nothing.
fn watch(running: &Running, act: impl FnOnce()) -> usize {
    let stop = AtomicBool::new(false);
    let watch = Watch::new(running);
    let watch = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch.look(&stop));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        let watch = watching.join().unwrap();
        acted.unwrap();
        watch
    });
    assert!(watch.found.is_empty(), "{:?}", watch.found.iter().take(20).collect::<Vec<_>>());
    watch.seen.len()
}

fn watched() -> Container {
    let mut container = Container::new(&["sleep", "1000"]);
    container.spec.process.capabilities |= SYS_PTRACE;
    container.seccomp = Some(ALLOW_ALL.to_vec());
    container
}

#[test]
fn an_exec_comes_with_no_more_than_its_program_has() {
    needs_root!();
    let running = watched().start();
    let seen = watch(&running, || {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(running.exec(&["true"]).unwrap().0.exit_code, 0);
                    }
                });
            }
        });
    });
    assert!(seen > 20, "{seen}");
    running.signal(9, false);
    running.wait();
}

#[test]
fn a_container_comes_into_the_pid_namespace_of_another_with_no_more_than_its_program_has() {
    needs_root!();
    let first = watched().start();
    let seen = watch(&first, || {
        for round in 0..60 {
            let mut second = Container::new(&["true"]);
            second.seccomp = Some(ALLOW_ALL.to_vec());
            second.spec.process.oom_score_adj = Some(7);
            second.spec.init = round % 2 == 1;
            second.spec.namespaces.pid = NamespaceMode::Process { pid: first.pid, start_time: 0 };
            assert_eq!(second.run().record.exit_code, 0);
        }
    });
    assert!(seen > 20, "{seen}");
    first.signal(9, false);
    first.wait();
}

/// A filter that answers `clone` so, hides `clone3`, and allows all else.
fn filter_of_clone(answer: u32) -> Vec<u8> {
    let instruction = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    let clone = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
    [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 2, 0, clone),
        instruction(0x15, 2, 0, 435),
        instruction(0x06, 0, 0, 0x7fff_0000),
        instruction(0x06, 0, 0, answer),
        instruction(0x06, 0, 0, 0x0005_0026),
    ]
    .concat()
}

#[test]
fn a_filter_that_leaves_no_way_in_is_named() {
    needs_root!();
    // EPERM, the process killed, and allowed.
    for (answer, is_refused) in [(0x0005_0001, true), (0x8000_0000, true), (0x7fff_0000, false)] {
        for no_new_privileges in [false, true] {
            let mut container = Container::new(&["sleep", "1000"]);
            container.seccomp = Some(filter_of_clone(answer));
            let running = container.start();
            let mut program = process(&["true"]);
            program.no_new_privileges = no_new_privileges;
            match running.exec_with(program, |_| ()) {
                Ok((exit, ..)) => assert!(!is_refused && exit.exit_code == 0, "{answer:x} {exit:?}"),
                Err(failure) => {
                    assert!(is_refused, "{failure:?}");
                    assert_eq!(failure.kind, FailureKind::BadRequest, "{failure:?}");
                    assert!(failure.detail.contains("filter") && failure.detail.contains("`clone`"), "{failure:?}");
                }
            }
            assert_eq!(children_of_shim(&running), 1);
            running.signal(9, false);
            running.wait();
        }
    }
}

/// Processes whose parent is the container's supervisor, ended ones too.
fn children_of_shim(running: &Running) -> usize {
    let path = running.container.directory().join(ctr_spec::files::STARTED);
    let shim = serde_json::from_slice::<ctr_spec::StartedRecord>(&fs::read(path).unwrap()).unwrap().shim_pid;
    fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap().split_whitespace().count()
}

#[test]
fn neither_failed_nor_successful_execs_leave_a_process_behind() {
    needs_root!();
    let running = watched().start();
    for round in 0..40 {
        let timeout = Some(1 + round % 4);
        // Killed at any moment on the way in.
        let _ = running.exec_with(process(&["sleep", "100"]), |spec| spec.timeout_ms = timeout);
        assert_eq!(running.exec(&["nothing"]).unwrap_err().kind, FailureKind::CommandNotFound);
        assert_eq!(running.exec(&["true"]).unwrap().0.exit_code, 0);
    }
    assert_eq!(children_of_shim(&running), 1);
    assert_eq!(running.exec(&sh("ps | grep -c 'sleep 100$'")).unwrap().1, "0\n");
    running.signal(9, false);
    running.wait();
}

#[test]
fn low_limits_of_a_program_do_not_keep_it_out() {
    needs_root!();
    let running = Container::new(&["sleep", "1000"]).start();
    let limit = |name: &str, resource, value| Rlimit {
        name: name.into(),
        resource,
        soft: value,
        hard: value,
        is_required: true,
    };
    let mut program = process(&sh("ulimit -u; ulimit -n; ulimit -Hn"));
    // A number that no other process has.
    program.user.name = "2000123456".into();
    program.rlimits = vec![limit("nproc", 6, 1), limit("nofile", 7, 3)];
    assert_eq!(running.exec_with(program, |_| ()).unwrap().1, "1\n3\n3\n");
    running.signal(9, false);
    running.wait();
}

#[test]
fn a_full_container_says_so() {
    needs_root!();
    let mut container = Container::new(&["sleep", "1000"]);
    container.limit("pids", "pids.max", "1", true);
    let running = container.start();
    let failure = running.exec(&["true"]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::LimitRefused, "{failure:?}");
    assert!(failure.detail.contains("limit of processes"), "{failure:?}");
    assert_eq!(children_of_shim(&running), 1);
    running.signal(9, false);
    running.wait();
}

#[test]
fn a_newcomer_leads_its_session_and_has_the_terminal() {
    needs_root!();
    let running = Container::new(&["sleep", "1000"]).start();
    let script = "[ \"$(ps -o pid,sid | grep -c \"^ *$$ *$$\")\" = 1 ] && : > /dev/tty";
    let (exit, ..) = running.exec_with(process(&sh(script)), |spec| spec.terminal = Some((24, 80))).unwrap();
    assert_eq!(exit.exit_code, 0);
    running.signal(9, false);
    running.wait();
}
