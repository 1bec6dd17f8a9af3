//! The container's end: last output, record, answers, and nothing left behind.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use ctr_spec::{ExitRecord, SPEC_VERSION, files};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Supervisor, records};
use crate::clock;

/// Killed leftovers are waited for this long, in steps of a millisecond.
const LEFTOVER_ROUNDS: u32 = 200;

impl Supervisor {
    /// Everything that follows the end of the first process.
    pub(super) fn finish(&mut self, (exit_code, signal): (i32, Option<i32>)) {
        let duration_ns = self.started.elapsed().as_nanos() as u64;
        let finished_at_ns = clock::unix_ns();
        self.deadline = None;
        if !self.has_own_pids() {
            self.kill_leftovers();
        }
        self.end_execs();
        self.streams.finish();
        let usage = self.cgroups.usage();
        let record = ExitRecord {
            version: SPEC_VERSION,
            exit_code,
            signal,
            oom_killed: usage.oom_kills > 0,
            timed_out: self.timed_out,
            peak_memory_bytes: usage.peak_memory_bytes,
            cpu_ns: usage.cpu_ns,
            started_at_ns: self.started_at_ns,
            finished_at_ns,
            duration_ns,
            failure: None,
        };
        if !self.spec.auto_remove {
            let _ = records::write(&self.directory, files::EXIT, &record);
        }
        self.ended = Some((record, Instant::now()));
        // The answer first; what follows nobody has to wait for.
        self.settle();
        self.cgroups.remove();
        match &self.trash {
            Some(trash) if self.spec.auto_remove => discard(&self.directory, trash, &self.spec.id),
            _ => {
                let _ = rustix::fs::unlinkat(&self.directory, files::SOCKET, AtFlags::empty());
            }
        }
    }

    /// Without a pid namespace of its own, the end of the first process ends nobody else.
    fn kill_leftovers(&self) {
        let _ = self.cgroups.kill();
        for _ in 0..LEFTOVER_ROUNDS {
            if self.cgroups.processes().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Moves the container's directory into the trash and empties it there. Whoever is killed meanwhile leaves the rest in
/// the trash, for the next comer.
pub fn discard(directory: &OwnedFd, trash: &OwnedFd, id: &str) {
    let _ = try_discard(directory, trash, id);
}

fn try_discard(directory: &OwnedFd, trash: &OwnedFd, id: &str) -> std::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(directory, "..", flags, Mode::empty())?;
    let shown = rustix::fs::readlinkat(
        rustix::fs::CWD,
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(directory)),
        Vec::new(),
    )?;
    let name = shown.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = OsStr::from_bytes(name);
    // The name must still mean this very directory.
    let (found, own) = (rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?, rustix::fs::fstat(directory)?);
    if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino) {
        return Err(Errno::STALE.into());
    }
    let mut target = id.to_owned();
    loop {
        match rustix::fs::renameat_with(&parent, name, trash, &target, rustix::fs::RenameFlags::NOREPLACE) {
            Ok(()) => break,
            Err(Errno::EXIST) => target.push('~'),
            Err(error) => return Err(error.into()),
        }
    }
    // Removing goes through directories that are opened for reading; the one sent to us is only a reference.
    let trash = rustix::fs::openat(trash, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    ctr_sys::tree::remove_tree(trash.as_fd(), OsStr::new(&target))?;
    Ok(())
}
