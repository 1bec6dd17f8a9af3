//! `repair`: the truth about a container whose shim was killed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ctr_spec::{ExitRecord, Failure, FailureKind, SPEC_VERSION, StartedRecord, files};

use super::directory::ContainerDir;
use super::probe::{ContainerState, Probe, probe_directory};
use crate::{Error, ErrorKind, Result, cgroup};

/// 128 + `SIGKILL`.
const KILLED_EXIT_CODE: i32 = 137;

/// When the shim of a started container died: kills what is left of the container, removes its control groups and writes
/// an exit record. Returns the truth afterwards; touches nothing of a container that runs.
pub fn repair(container_dir: &Path, id: &str) -> Result<Probe> {
    let Some(directory) = ContainerDir::open(container_dir)? else {
        clean_groups(id)?;
        return Ok(Probe { state: ContainerState::Gone, started: None, exit: None });
    };
    // Holding the lock, nobody can start it meanwhile.
    let lock = match directory.try_lock() {
        Ok(Some(lock)) => lock,
        Ok(None) => return probe_directory(&directory),
        // Half a creation: there was no shim yet.
        Err(error) if error.kind == ErrorKind::NotFound => return probe_directory(&directory),
        Err(error) => return Err(error),
    };
    clean_groups(id)?;
    directory.unlink(files::SOCKET)?;
    if let (None, Some(started)) = (directory.exit()?, directory.started()?) {
        let record = serde_json::to_vec(&killed_record(&started))
            .map_err(|cause| Error::new(ErrorKind::Internal, format!("cannot encode an exit record: {cause}")))?;
        directory.put(files::EXIT, &record)?;
    }
    drop(lock);
    probe_directory(&directory)
}

fn clean_groups(id: &str) -> Result<()> {
    let machine = cgroup::host()?;
    cgroup::kill_leftovers(machine, id)?;
    cgroup::remove_leftovers(machine, id)
}

fn killed_record(started: &StartedRecord) -> ExitRecord {
    let now_ns = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    ExitRecord {
        version: SPEC_VERSION,
        exit_code: KILLED_EXIT_CODE,
        signal: Some(9),
        oom_killed: false,
        timed_out: false,
        peak_memory_bytes: None,
        cpu_ns: None,
        started_at_ns: started.started_at_ns,
        finished_at_ns: now_ns,
        duration_ns: now_ns.saturating_sub(started.started_at_ns),
        failure: Some(Failure {
            kind: FailureKind::Internal,
            step: "keep the container running".into(),
            errno: 0,
            subject: String::new(),
            detail: "its shim was killed".into(),
        }),
    }
}
