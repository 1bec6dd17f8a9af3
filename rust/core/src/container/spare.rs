//! A shim in reserve: started while the caller waits for another container, so that the next run finds one that has its
//! start-up behind it. Only runs keep one, from the second in a process on; it holds no container and no file.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::connection::{Connection, Incoming};
use super::start::spawn;
use crate::Result;

/// More in reserve than processors that would start them at once is waste.
const MOST: usize = 2;

struct Spare {
    /// A forked copy of this process inherits the connection, and must not use it as well.
    owner: u32,
    connection: Connection,
}

static SPARES: Mutex<Vec<Spare>> = Mutex::new(Vec::new());
/// Runs so far; who runs one container only needs no reserve.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// A shim that waits for its start request, from the reserve when there is one.
pub fn take_or_spawn() -> Result<Connection> {
    loop {
        let taken = SPARES.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(mut spare) = taken else { return spawn() };
        // It ends by itself when it was idle for long.
        let is_waiting = matches!(spare.connection.receive(), Ok(Incoming::Nothing));
        if is_waiting && spare.owner == std::process::id() {
            return Ok(spare.connection);
        }
    }
}

/// Puts a shim in reserve. To be called while there is nothing to do but wait; a failure shows at the next start.
pub fn replenish() {
    if RUNS.fetch_add(1, Ordering::Relaxed) == 0 {
        return;
    }
    let has_enough = || SPARES.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST;
    if has_enough() {
        return;
    }
    if let Ok(connection) = spawn() {
        let spare = Spare { owner: std::process::id(), connection };
        SPARES.lock().unwrap_or_else(PoisonError::into_inner).push(spare);
    }
}

/// Ends the shims in reserve.
pub fn release() {
    RUNS.store(0, Ordering::Relaxed);
    let spares = std::mem::take(&mut *SPARES.lock().unwrap_or_else(PoisonError::into_inner));
    drop(spares);
}
