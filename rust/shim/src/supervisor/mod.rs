//! The supervisor's life: start the container, wait for what happens, tell it, clean up.

mod clients;
mod execs;
mod finish;
mod records;
mod start;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ctr_spec::{ContainerSpec, ExitRecord, ShimReply, StartRequest};
use ctr_sys::process::Child;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cgroup::Cgroups;
use crate::launch::exit_status;
use crate::request::{Descriptors, reply};
use crate::streams::Streams;
use clients::Client;
use execs::Exec;

/// Forwarded to the container's first process.
pub const SIGTERM: i32 = 15;
/// A supervisor is not for a terminal to interrupt, nor ended by a broken pipe: HUP, INT, QUIT, PIPE, USR1, USR2,
/// TSTP, TTIN, TTOU.
pub const IGNORED_SIGNALS: [i32; 9] = [1, 2, 3, 13, 10, 12, 20, 21, 22];
/// After the container's end, clients that may lose output are not waited for longer.
const LINGER_FOR_LOSSY: Duration = Duration::from_secs(2);

/// The starter's number among the clients.
const STARTER: u64 = 0;

/// Where input of the first process comes from.
#[derive(Debug)]
enum Input {
    /// `/dev/null` or the starter's own descriptor.
    None,
    /// A pipe; given away for good to the first client that asks when `is_once`.
    Pipe { writer: OwnedFd, is_once: bool },
    /// The terminal's master side, and its slave, held so that the terminal never hangs up in between.
    Terminal { master: OwnedFd, slave: OwnedFd },
}

/// Everything that a living container needs.
#[derive(Debug)]
struct Supervisor {
    spec: ContainerSpec,
    directory: OwnedFd,
    trash: Option<OwnedFd>,
    cgroups: Cgroups,
    seccomp: Option<Vec<u8>>,
    init: Child,
    /// The container's own terminals, for execs.
    devpts: Option<OwnedFd>,
    input: Input,
    streams: Streams,
    listener: UnixListener,
    signals: OwnedFd,
    clients: Vec<Client>,
    next_client: u64,
    execs: Vec<Exec>,
    next_exec: u64,
    deadline: Option<Instant>,
    timed_out: bool,
    started: Instant,
    started_at_ns: u64,
    ended: Option<(ExitRecord, Instant)>,
    /// Held until the end of this process.
    _lock: Option<OwnedFd>,
}

/// Starts the container, lives with it and cleans up after it.
pub fn run(control: OwnedFd, request: StartRequest, mut descriptors: Descriptors) {
    let place = match start::Place::take(&mut descriptors) {
        Ok(place) => place,
        Err(failure) => {
            let _ = reply(std::os::fd::AsFd::as_fd(&control), &ShimReply::Failed { failure }, &[]);
            return;
        }
    };
    match start::start(&control, request, descriptors, place) {
        Ok(mut supervisor) => {
            supervisor.clients.push(Client::waiting(STARTER, control));
            supervisor.live();
        }
        Err(failed) => failed.conclude(&control),
    }
}

impl Supervisor {
    fn live(&mut self) {
        loop {
            if self.ended.is_some() && self.clients.is_empty() {
                return;
            }
            let Some(answers) = self.wait() else { continue };
            self.act(&answers);
            self.keep_deadlines();
            self.settle();
        }
    }

    /// Waits for the next events: the readiness of every descriptor, in the order that [`Supervisor::act`] knows.
    fn wait(&self) -> Option<Vec<PollFlags>> {
        let mut fds = Vec::with_capacity(8 + self.clients.len() + self.execs.len());
        fds.push(PollFd::new(&self.signals, PollFlags::IN));
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        // An ended process would be ready for ever.
        let of_init = if self.ended.is_none() { PollFlags::IN } else { PollFlags::empty() };
        if self.ended.is_none() {
            fds.push(PollFd::new(&self.init.pidfd, of_init));
        }
        for client in &self.clients {
            fds.push(PollFd::new(&client.socket, PollFlags::IN));
        }
        for exec in &self.execs {
            fds.push(PollFd::new(exec.interest(), PollFlags::IN));
        }
        self.streams.interests(&mut fds);
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up by the kernel's millisecond, so that the deadline is really over on waking.
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        poll(&mut fds, timeout.as_ref()).ok()?;
        Some(fds.iter().map(PollFd::revents).collect())
    }

    fn act(&mut self, answers: &[PollFlags]) {
        let mut next = {
            let mut answers = answers.iter().copied();
            move || answers.next().unwrap_or(PollFlags::empty())
        };
        let has_signal = !next().is_empty();
        let has_connection = !next().is_empty();
        let init_ended = self.ended.is_none() && !next().is_empty();
        let ready_clients: Vec<u64> =
            self.clients.iter().filter_map(|client| if next().is_empty() { None } else { Some(client.id) }).collect();
        let ready_execs: Vec<u64> =
            self.execs.iter().filter_map(|exec| if next().is_empty() { None } else { Some(exec.id) }).collect();
        let fixed = 2 + usize::from(self.ended.is_none()) + self.clients.len() + self.execs.len();
        self.streams.handle(answers.get(fixed..).unwrap_or(&[]));
        if has_signal {
            self.forward_signals();
        }
        for id in ready_execs {
            self.hear_exec(id);
        }
        for id in ready_clients {
            self.hear_client(id);
        }
        if has_connection {
            self.accept();
        }
        if init_ended && let Some(status) = exit_status(&self.init.pidfd, false) {
            self.finish(status);
        }
    }

    fn forward_signals(&mut self) {
        use std::os::fd::AsFd;
        while let Ok(Some(signal)) = ctr_sys::signals::next(self.signals.as_fd()) {
            if self.ended.is_none() {
                let _ = ctr_sys::process::signal(self.init.pidfd.as_fd(), signal);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lossy = self.ended.as_ref().map(|(_, at)| *at + LINGER_FOR_LOSSY).filter(|at| *at > Instant::now());
        self.execs.iter().filter_map(|exec| exec.deadline).chain(self.deadline).chain(lossy).min()
    }

    fn keep_deadlines(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.timed_out = true;
            self.kill_everything();
        }
        for exec in &mut self.execs {
            exec.keep_deadline(now);
        }
        if self.ended.as_ref().is_some_and(|(_, at)| *at + LINGER_FOR_LOSSY <= now) {
            self.streams.drop_lossy();
        }
    }

    fn kill_everything(&self) {
        use std::os::fd::AsFd;
        let _ = self.cgroups.kill();
        let _ = ctr_sys::process::signal(self.init.pidfd.as_fd(), 9);
    }
}
