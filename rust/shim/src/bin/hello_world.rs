//! The program of the built-in `hello-world` image: says what just happened on the way to it. Every figure is read here,
//! inside the container; nothing is known in advance.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::fs;

fn main() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    println!("Hello from a container!");
    println!();
    println!("This text proves that every part works. What happened on the way to it:");
    println!();
    let steps = [
        image(),
        root(&mounts),
        process(),
        network(),
        privileges(&status),
        groups(),
        "When this program ends, its supervisor records the exit status and cleans everything away.".to_owned(),
    ];
    for (number, step) in steps.iter().enumerate() {
        println!(" {}. {step}", number + 1);
    }
    println!();
    println!("Some things to try next:");
    println!();
    println!(
        "    pctr run --rm -it host bash                     a shell on this machine's own files, thrown away after"
    );
    println!("    pctr pull busybox                               an image from a registry");
    println!("    pctr run --rm --memory 64m busybox ps           a limited container with one process");
    println!("    python3 -c 'import pyrust_ctr as p; print(p.Engine().run(\"busybox\", [\"id\"]).stdout)'");
}

fn image() -> String {
    let size = fs::metadata("/proc/self/exe").map_or(0, |file| file.len() / 1024);
    format!("The image was found on this machine: one layer that holds one static program of {size} KiB.")
}

fn root(mounts: &str) -> String {
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            if fields.next() == Some("/") { fields.next() } else { None }
        })
        .next_back()
        .unwrap_or("file system");
    let count = mounts.lines().count();
    format!(
        "The layer became the bottom of the root ({kind}) with a writable top; {count} mounts complete the picture."
    )
}

fn process() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let processes = fs::read_dir("/proc").map_or(0, |entries| {
        let is_number = |name: std::ffi::OsString| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        entries.flatten().filter(|entry| is_number(entry.file_name())).count()
    });
    let others = match processes {
        0 | 1 => "and no other process is to be seen".to_owned(),
        more => format!("and sees {more} processes in all"),
    };
    format!("This program was started as process {} on the host name `{}`, {others}.", std::process::id(), host.trim())
}

fn network() -> String {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let devices: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    match devices[..] {
        [] => "It has a network namespace without any device.".to_owned(),
        ["lo"] => "Its network has the loopback device and nothing else.".to_owned(),
        _ => format!("Its network has {} devices: {}.", devices.len(), devices.join(", ")),
    }
}

fn privileges(status: &str) -> String {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
    };
    let count = u64::from_str_radix(field("CapEff"), 16).map_or(0, u64::count_ones);
    let all = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(41, |last| last + 1);
    let filter = if field("Seccomp") == "2" { "behind a system call filter" } else { "without a system call filter" };
    format!("It runs with {count} of the system's {all} capabilities, {filter}.")
}

fn groups() -> String {
    let count = fs::read_to_string("/proc/self/cgroup").unwrap_or_default().lines().count();
    match count {
        1 => "One control group counts and limits what it uses.".to_owned(),
        count => format!("Its processes are counted and limited in {count} control group hierarchies."),
    }
}
