//! Clients: one request a connection. Nothing that a client does, or fails to do, holds the supervisor up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ctr_spec::{Failure, FailureKind, FdRole, ShimReply, ShimRequest};
use ctr_sys::frame::{Received, Receiver};

use super::{Input, Supervisor};
use crate::failure::{Step, refused};
use crate::request::{Descriptors, MAX_CLIENT_BYTES, reply};

/// Connections beyond this many are closed at once.
const MAX_CLIENTS: usize = 1000;

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Never used again.
    pub id: u64,
    /// The connection.
    pub socket: OwnedFd,
    receiver: Receiver,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Has not asked yet.
    Asking,
    /// Is told when the container has ended.
    Waiting,
    /// Is told when its exec has ended.
    WaitingForExec(u64),
}

impl Client {
    /// The starter: it has asked already.
    pub fn waiting(id: u64, socket: OwnedFd) -> Self {
        Self { id, socket, receiver: Receiver::new(MAX_CLIENT_BYTES), state: State::Waiting }
    }
}

/// What becomes of a connection after its request.
enum Then {
    Close,
    Wait,
    WaitForExec(u64),
}

impl Supervisor {
    pub(super) fn accept(&mut self) {
        while let Ok((connection, _)) = self.listener.accept() {
            if self.clients.len() >= MAX_CLIENTS {
                continue;
            }
            let id = self.next_client;
            self.next_client += 1;
            let socket = OwnedFd::from(connection);
            self.clients.push(Client { id, socket, receiver: Receiver::new(MAX_CLIENT_BYTES), state: State::Asking });
            // Often the request is there already.
            self.hear_client(id);
        }
    }

    pub(super) fn hear_client(&mut self, id: u64) {
        let Some(index) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = &mut self.clients[index];
        match client.receiver.advance(client.socket.as_fd(), true) {
            Ok(Received::Incomplete) => {}
            Ok(Received::Frame(bytes, fds)) if client.state == State::Asking => match self.serve(id, &bytes, fds) {
                Then::Close => self.drop_client(id),
                Then::Wait => self.set_state(id, State::Waiting),
                Then::WaitForExec(exec) => self.set_state(id, State::WaitingForExec(exec)),
            },
            // Gone, malformed, or a second request: nothing more to do with it. The starter's and an attached client's
            // leaving means that they are detached.
            Ok(Received::Closed | Received::Frame(..)) | Err(_) => self.drop_client(id),
        }
    }

    fn set_state(&mut self, id: u64, state: State) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.state = state;
        }
    }

    pub(super) fn drop_client(&mut self, id: u64) {
        self.clients.retain(|client| client.id != id);
        self.streams.remove_client(id);
        self.forget_client_of_execs(id);
    }

    /// Sends a reply; a client that does not take it is dropped by the caller's next look at its socket.
    pub(super) fn tell(&self, id: u64, message: &ShimReply, fds: &[BorrowedFd<'_>]) {
        if let Some(client) = self.clients.iter().find(|client| client.id == id) {
            let _ = reply(client.socket.as_fd(), message, fds);
        }
    }

    fn serve(&mut self, id: u64, bytes: &[u8], fds: Vec<OwnedFd>) -> Then {
        match self.handle(id, bytes, fds) {
            Ok(then) => then,
            Err(failure) => {
                self.tell(id, &ShimReply::Failed { failure }, &[]);
                Then::Close
            }
        }
    }

    fn handle(&mut self, id: u64, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<Then, Failure> {
        let bad = |detail: &str| refused(FailureKind::BadRequest, "read the request", "", detail);
        let request: ShimRequest = serde_json::from_slice(bytes).map_err(|error| bad(&error.to_string()))?;
        if request == ShimRequest::Wait {
            return Ok(Then::Wait);
        }
        if self.ended.is_some() {
            return Err(refused(FailureKind::NotRunning, "reach the container", "", "it has ended"));
        }
        match request {
            ShimRequest::Wait => Ok(Then::Wait),
            ShimRequest::Start { .. } => Err(bad("the container has been started already")),
            ShimRequest::Exec { spec, fds: roles, detach } => {
                Ok(Then::WaitForExec(self.start_exec(id, &spec, detach, &mut Descriptors::new(roles, fds)?)?))
            }
            ShimRequest::Signal { signal, all } => {
                self.signal(signal, all)?;
                self.tell(id, &ShimReply::Done, &[]);
                Ok(Then::Close)
            }
            ShimRequest::Attach { request, fds: roles } => {
                let mut descriptors = Descriptors::new(roles, fds)?;
                let writer = self.attach(id, &request, &mut descriptors);
                let roles = writer.iter().map(|_| FdRole::StdinWriter).collect();
                let sent: Vec<BorrowedFd<'_>> = writer.iter().map(AsFd::as_fd).collect();
                self.tell(id, &ShimReply::Attached { fds: roles }, &sent);
                Ok(Then::Wait)
            }
            ShimRequest::Resize { rows, columns } => {
                let step = "resize the terminal";
                let Input::Terminal { master, .. } = &self.input else {
                    return Err(refused(FailureKind::BadRequest, step, "", "the container has no terminal"));
                };
                let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                rustix::termios::tcsetwinsize(master, size).step(FailureKind::Internal, step, "")?;
                self.tell(id, &ShimReply::Done, &[]);
                Ok(Then::Close)
            }
        }
    }

    fn signal(&self, signal: i32, all: bool) -> Result<(), Failure> {
        let step = "send a signal";
        let subject = signal.to_string();
        if !(0..=64).contains(&signal) {
            return Err(refused(FailureKind::BadRequest, step, &subject, "there is no such signal"));
        }
        if all && self.cgroups.can_kill() {
            for pid in self.cgroups.processes() {
                let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
                let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
                    continue;
                };
                // Only who is still listed after the handle was opened is certainly meant.
                if self.cgroups.processes().contains(&pid.as_raw_nonzero().get()) {
                    let _ = ctr_sys::process::signal(handle.as_fd(), signal);
                }
            }
            if signal == 9 {
                let _ = self.cgroups.kill();
            }
            return Ok(());
        }
        ctr_sys::process::signal(self.init.pidfd.as_fd(), signal).step(FailureKind::NotRunning, step, &subject)
    }

    /// Tells the clients of an exec that it ended.
    pub(super) fn conclude_exec(&mut self, exec: u64, message: &ShimReply) {
        let waiting = |client: &&Client| client.state == State::WaitingForExec(exec);
        let ids: Vec<u64> = self.clients.iter().filter(waiting).map(|client| client.id).collect();
        for id in ids {
            self.tell(id, message, &[]);
            self.drop_client(id);
        }
    }

    /// After the end: everybody who waits is told as soon as the output that belongs to them was taken.
    pub(super) fn settle(&mut self) {
        let Some((record, _)) = &self.ended else { return };
        let message = ShimReply::Exited { record: record.clone() };
        let is_done = |client: &&Client| client.state == State::Waiting && !self.streams.has_pending(client.id);
        let ids: Vec<u64> = self.clients.iter().filter(is_done).map(|client| client.id).collect();
        for id in ids {
            self.tell(id, &message, &[]);
            self.drop_client(id);
        }
        // Nobody who has not asked by now is waited for.
        self.clients.retain(|client| client.state == State::Waiting);
    }
}
