//! Killing and removing a control group, given its directory.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

/// Readings of `cgroup.procs` until a v1 group must be empty (a fork may slip through one reading).
const KILL_ROUNDS: u32 = 200;
/// Attempts to remove a directory whose last process is just being reaped.
const REMOVE_ATTEMPTS: u32 = 60;

/// Kills every process of the control group and of its children. Killed processes may still be exiting on return.
///
/// v2: one write to `cgroup.kill`. v1: `SIGKILL` through pidfds until `cgroup.procs` stays empty. A group that is not
/// there is fine.
///
/// # Errors
/// `ResourceBusy` when a v1 group keeps getting new processes, else what the kernel reported.
pub fn kill(directory: &Path) -> io::Result<()> {
    match write_existing(&directory.join("cgroup.kill"), "1") {
        Ok(()) => return Ok(()),
        // Absent on v1, before Linux 5.14, and when the group is gone; EACCES/EINVAL on the root of a hierarchy.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        Err(error) => return Err(error),
    }
    for _ in 0..KILL_ROUNDS {
        if kill_once(directory)? == 0 {
            return Ok(());
        }
        // A frozen process takes no signal until it is thawed.
        let _ = write_existing(&directory.join("freezer.state"), "THAWED");
        sleep(Duration::from_millis(1));
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Signals what is there now; returns how many live processes were seen.
fn kill_once(directory: &Path) -> io::Result<usize> {
    let mut seen = 0;
    for child in children(directory)? {
        seen += kill_once(&child)?;
    }
    let opened: Vec<(i32, OwnedFd)> = processes(directory)?
        .into_iter()
        .filter_map(|pid| {
            let handle = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            Some((pid, handle))
        })
        .collect();
    if opened.is_empty() {
        return Ok(seen);
    }
    // Only who is still listed after the handle was opened is certainly meant: the number may have been reused.
    let still_there = processes(directory)?;
    for (pid, handle) in opened {
        if still_there.contains(&pid) {
            seen += 1;
            // Gone already is as good as killed.
            let _ = rustix::process::pidfd_send_signal(handle.as_fd(), Signal::KILL);
        }
    }
    Ok(seen)
}

/// Process ids in this very group, as seen from the caller's pid namespace; empty when the group is gone.
///
/// # Errors
/// What reading `cgroup.procs` reported.
pub fn processes(directory: &Path) -> io::Result<Vec<i32>> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes the next joining of a v1 control group quick, if called some milliseconds before it.
///
/// The kernel guards migrations by a lock whose first taker waits for an RCU grace period (4 to 18 ms measured on two
/// busy cores); whoever comes within the next few does not. This takes the lock for nothing, by moving the calling
/// process to where it is already, so call it early, on a thread of its own. Does nothing on machines without v1.
///
/// # Errors
/// What reading `/proc/self/cgroup` or writing `cgroup.procs` reported; none of it matters to a caller.
pub fn hasten_joining() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() || controllers.contains('=') {
            continue;
        }
        let directory = Path::new("/sys/fs/cgroup").join(controllers).join(path.trim_start_matches('/'));
        return write_existing(&directory.join("cgroup.procs"), "0");
    }
    Ok(())
}

/// Removes the control group and its children; waits a little (about 100 ms) for exiting processes. A group that is not
/// there is fine.
///
/// # Errors
/// `ResourceBusy` when processes stay, else what `rmdir(2)` reported.
pub fn remove(directory: &Path) -> io::Result<()> {
    let mut wait = Duration::from_micros(50);
    for attempt in 1.. {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempt < REMOVE_ATTEMPTS => {
                for child in children(directory)? {
                    remove(&child)?;
                }
                sleep(wait);
                wait = (wait * 2).min(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes without asking for the file to be made: cgroupfs answers a wish to create with `EACCES`.
fn write_existing(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn children(directory: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn group_root() -> Option<std::path::PathBuf> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: control groups need root");
            return None;
        }
        let name = format!("ctr-sys-test-{}-{:?}", std::process::id(), std::thread::current().id());
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().find_map(|mount| {
            let directory = Path::new(mount).join(&name);
            fs::create_dir(&directory).ok().map(|()| directory)
        })
    }

    #[test]
    fn kills_and_removes_a_tree_of_groups() {
        let Some(directory) = group_root() else { return };
        let _alone = crate::tests::CHILDREN.lock().unwrap();
        let inner = directory.join("inner");
        fs::create_dir(&inner).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(inner.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        let seen = processes(&inner).unwrap();
        let busy = fs::remove_dir(&inner).is_err();
        let killed = kill(&directory);
        let _ = sleeper.kill();
        let status = sleeper.wait().unwrap();
        let removed = remove(&directory);
        killed.unwrap();
        removed.unwrap();
        assert!(!status.success());
        assert_eq!(seen.len(), 1);
        assert!(busy);
        assert!(!directory.exists());
    }

    #[test]
    fn hastening_moves_nobody() {
        let before = fs::read_to_string("/proc/self/cgroup").unwrap();
        let _ = hasten_joining();
        assert_eq!(fs::read_to_string("/proc/self/cgroup").unwrap(), before);
    }

    #[test]
    fn what_is_not_there_is_fine() {
        kill(Path::new("/sys/fs/cgroup/no-such-group")).unwrap();
        remove(Path::new("/sys/fs/cgroup/no-such-group")).unwrap();
    }
}
