//! What a client holds of something that runs: the connection on which its end will be told.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ctr_spec::{ExecExit, ExitRecord, ShimReply};
use rustix::event::{PollFd, PollFlags};

use super::connection::{Connection, Incoming, lost, unexpected};
use super::interrupt::{Interrupt, deadline_after, wait_ready};
use crate::{Error, ErrorKind, Result};

/// The last message of a conversation.
pub trait Outcome: Clone {
    /// The outcome that a reply tells; kind `ShimLost` when it is another one.
    fn of(reply: ShimReply) -> Result<Self>;
}

impl Outcome for ExitRecord {
    fn of(reply: ShimReply) -> Result<Self> {
        match reply {
            ShimReply::Exited { record } => Ok(record),
            other => Err(unexpected(&other)),
        }
    }
}

impl Outcome for ExecExit {
    fn of(reply: ShimReply) -> Result<Self> {
        match reply {
            ShimReply::ExecExited { exit } => Ok(exit),
            other => Err(unexpected(&other)),
        }
    }
}

/// A conversation that ends with an outcome; any number of threads may wait for it. Dropping it detaches.
#[derive(Debug)]
pub struct Session<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    connection: Option<Connection>,
    outcome: Option<T>,
}

impl<T: Outcome> Session<T> {
    /// Takes over a connection on which only the outcome is still to come.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { state: Mutex::new(State { connection: Some(connection), outcome: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome, or `None` when the time is over. Kind `ShimLost` when the shim died.
    pub fn wait(&self, timeout: Option<Duration>, interrupt: Interrupt<'_>) -> Result<Option<T>> {
        let deadline = deadline_after(timeout);
        loop {
            let socket = {
                let mut state = self.state();
                if let Some(outcome) = &state.outcome {
                    return Ok(Some(outcome.clone()));
                }
                let Some(connection) = state.connection.as_mut() else { return Err(closed()) };
                match connection.receive()? {
                    Incoming::Reply(reply, _) => {
                        let outcome = T::of(*reply)?;
                        state.outcome = Some(outcome.clone());
                        return Ok(Some(outcome));
                    }
                    Incoming::Closed => return Err(lost()),
                    Incoming::Nothing => connection.socket(),
                }
            };
            let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
            if !wait_ready(&mut fds, deadline, interrupt)? {
                return Ok(None);
            }
        }
    }

    /// A descriptor that is readable when the outcome is there or the shim is gone; it stays the session's.
    pub fn raw_fd(&self) -> Result<RawFd> {
        self.state().connection.as_ref().map(|connection| connection.as_fd().as_raw_fd()).ok_or_else(closed)
    }

    /// Ends the conversation, not what runs.
    pub fn close(&self) {
        if let Some(connection) = self.state().connection.take() {
            // Wakes threads that still wait on it.
            let _ = rustix::net::shutdown(connection.as_fd(), rustix::net::Shutdown::Both);
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::InvalidArgument, "the connection to the container's shim was closed")
}

/// A descriptor that can be taken once.
#[derive(Debug, Default)]
pub struct Once(Mutex<Option<OwnedFd>>);

impl Once {
    /// Holds a descriptor.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self(Mutex::new(fd))
    }

    /// The descriptor, at the first call.
    pub fn take(&self) -> Option<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A started container, as its starter sees it.
#[derive(Debug)]
pub struct StartedContainer {
    /// Process id on the host.
    pub pid: u32,
    /// Unix time, nanoseconds.
    pub started_at_ns: u64,
    /// Sentences about defaults that the machine refused.
    pub warnings: Vec<String>,
    /// The writing end of standard input, or the terminal's master side.
    pub stdin: Once,
    /// Its end.
    pub session: Session<ExitRecord>,
}

/// A started exec.
#[derive(Debug)]
pub struct StartedExec {
    /// Process id on the host.
    pub pid: u32,
    /// The terminal's master side.
    pub terminal: Once,
    /// Its end.
    pub session: Session<ExecExit>,
}

/// A client attached to a running container.
#[derive(Debug)]
pub struct Attachment {
    /// The writing end of standard input, or the terminal's master side.
    pub stdin: Once,
    /// The container's end.
    pub session: Session<ExitRecord>,
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::container::never;

    fn record() -> ExitRecord {
        serde_json::from_value(serde_json::json!({
            "version": 1, "exit_code": 3, "oom_killed": false, "timed_out": false,
            "started_at_ns": 1, "finished_at_ns": 2, "duration_ns": 1,
        }))
        .unwrap()
    }

    #[test]
    fn the_outcome_is_told_to_everyone_and_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let session: Session<ExitRecord> = Session::new(Connection::new(ours));
        assert_eq!(session.wait(Some(Duration::from_millis(5)), &mut never()).unwrap(), None);
        let reply = serde_json::to_vec(&ShimReply::Exited { record: record() }).unwrap();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| session.wait(None, &mut never()))).collect();
            ctr_sys::frame::send(theirs.as_fd(), &reply, &[]).unwrap();
            drop(theirs);
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap().unwrap().unwrap().exit_code, 3);
            }
        });
        assert_eq!(session.wait(None, &mut never()).unwrap(), Some(record()));
    }

    #[test]
    fn a_dead_shim_and_a_closed_session_are_errors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let session: Session<ExitRecord> = Session::new(Connection::new(ours));
        drop(theirs);
        assert_eq!(session.wait(None, &mut never()).unwrap_err().kind, ErrorKind::ShimLost);
        session.close();
        assert_eq!(session.wait(None, &mut never()).unwrap_err().kind, ErrorKind::InvalidArgument);
        assert!(session.raw_fd().is_err());
    }
}
