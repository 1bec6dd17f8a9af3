//! `probe`: what is true of a container right now.

use std::path::Path;

use ctr_spec::{ExitRecord, StartedRecord};

use super::directory::ContainerDir;
use crate::Result;

/// States, as far as one directory tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Not started yet, or just starting.
    Created,
    /// A shim looks after it.
    Running,
    /// There is an exit record.
    Exited,
    /// It was started, and its shim died without an exit record.
    Dead,
    /// There is no directory, or one that is being deleted.
    Gone,
}

impl ContainerState {
    /// The name that Python sees.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }
}

/// A container's state and records.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The state.
    pub state: ContainerState,
    /// How it was started, when it runs or is dead.
    pub started: Option<StartedRecord>,
    /// How it ended.
    pub exit: Option<ExitRecord>,
}

/// A start in between makes a look inconsistent; nobody starts a container this often.
const MAX_LOOKS: u32 = 100;

/// Looks at a container.
pub fn probe(container_dir: &Path) -> Result<Probe> {
    match ContainerDir::open(container_dir)? {
        Some(directory) => probe_directory(&directory),
        None => Ok(Probe { state: ContainerState::Gone, started: None, exit: None }),
    }
}

/// Looks at an open directory.
pub fn probe_directory(directory: &ContainerDir) -> Result<Probe> {
    let mut looks = 0;
    loop {
        // The lock first: a shim writes its exit record before it unlocks, so a free lock means that records are final.
        let is_locked = directory.is_locked()?;
        let exit = directory.exit()?;
        let started = directory.started()?;
        let state = match (is_locked, exit.is_some(), started.is_some()) {
            (_, true, _) => ContainerState::Exited,
            (true, false, true) => ContainerState::Running,
            // Half made or half deleted.
            (_, false, false) if !directory.has_lock_file() => ContainerState::Gone,
            (_, false, false) => ContainerState::Created,
            (false, false, true) => ContainerState::Dead,
        };
        looks += 1;
        // A new shim may have written its record after the lock was looked at.
        if state == ContainerState::Dead && looks < MAX_LOOKS && directory.is_locked()? {
            continue;
        }
        return Ok(Probe { state, started, exit });
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use ctr_spec::files;

    use super::*;

    const STARTED: &[u8] = br#"{"version":1,"pid":7,"pid_start_time":9,"shim_pid":6,"started_at_ns":5}"#;
    const EXIT: &[u8] = br#"{"version":1,"exit_code":0,"oom_killed":false,"timed_out":false,"started_at_ns":1,
                             "finished_at_ns":2,"duration_ns":1}"#;

    #[test]
    fn states_follow_from_lock_and_records() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("c");
        let state = || probe(&path).unwrap().state;
        assert_eq!(state(), ContainerState::Gone);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(state(), ContainerState::Gone);
        let lock = std::fs::File::create(path.join(files::LOCK)).unwrap();
        assert!(ctr_sys::lock::try_lock(lock.as_fd()).unwrap());
        assert_eq!(state(), ContainerState::Created);
        std::fs::write(path.join(files::STARTED), STARTED).unwrap();
        assert_eq!(state(), ContainerState::Running);
        assert_eq!(probe(&path).unwrap().started.unwrap().pid, 7);
        drop(lock);
        assert_eq!(state(), ContainerState::Dead);
        std::fs::write(path.join(files::EXIT), EXIT).unwrap();
        assert_eq!(state(), ContainerState::Exited);
    }
}
