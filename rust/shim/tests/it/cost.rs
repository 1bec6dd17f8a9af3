//! What a start costs: a measurement, not a test. With `SHIM_UNDER_TEST` naming the static build:
//! `cargo test -p ctr-shim --test it cost -- --ignored --nocapture --test-threads=1`

use std::time::{Duration, Instant};

use crate::harness::Container;
use crate::needs_root;

const ROUNDS: usize = 100;

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    eprintln!(
        "{name:<34} median {:>7.3} ms   best {:>7.3} ms   p90 {:>7.3} ms",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[0].as_secs_f64() * 1e3,
        times[times.len() * 9 / 10].as_secs_f64() * 1e3
    );
}

#[test]
#[ignore = "a measurement"]
fn start_to_exit() {
    needs_root!();
    for (name, without_groups, pause, hastens) in [
        ("with control groups", false, 0, false),
        ("without control groups", true, 0, false),
        ("with groups, after a pause", false, 200, false),
        ("… joining hastened 10 ms before", false, 200, true),
    ] {
        let (mut started, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..if pause == 0 { ROUNDS } else { ROUNDS / 5 } {
            let mut container = Container::new(&["/bin/true"]);
            if without_groups {
                container.cgroups.dirs.clear();
            }
            std::thread::sleep(Duration::from_millis(pause));
            if hastens {
                std::thread::spawn(ctr_sys::cgroupfs::hasten_joining);
                std::thread::sleep(Duration::from_millis(10));
            }
            let before = Instant::now();
            let running = container.start();
            started.push(before.elapsed());
            let record = running.receive_exit();
            ended.push(before.elapsed());
            assert_eq!(record.exit_code, 0);
            running.container.assert_nothing_left();
        }
        show(&format!("started, {name}"), started);
        show(&format!("exited, {name}"), ended);
    }
}

#[test]
#[ignore = "a measurement"]
fn memory_of_a_waiting_shim() {
    needs_root!();
    let mut container = Container::new(&["sleep", "100"]);
    container.spec.stdio = ctr_spec::StdioMode::Piped { open_stdin: false, stdin_once: false };
    let running = container.start();
    std::thread::sleep(Duration::from_millis(100));
    let started = std::fs::read(running.container.directory().join(ctr_spec::files::STARTED)).unwrap();
    let shim = serde_json::from_slice::<ctr_spec::StartedRecord>(&started).unwrap().shim_pid;
    let memory = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    for line in
        memory.lines().filter(|line| line.starts_with("Rss") || line.starts_with("Pss:") || line.starts_with("Private"))
    {
        eprintln!("{line}");
    }
    running.signal(9, false);
    running.wait();
}

#[test]
#[ignore = "a measurement"]
fn exec_to_exit() {
    needs_root!();
    let running = Container::new(&["sleep", "100"]).start();
    let mut ended = Vec::new();
    for _ in 0..5 * ROUNDS {
        let before = Instant::now();
        assert_eq!(running.exec(&["/bin/true"]).unwrap().0.exit_code, 0);
        ended.push(before.elapsed());
    }
    show("an exec, to its exit", ended);
    running.signal(9, false);
    running.wait();
}
