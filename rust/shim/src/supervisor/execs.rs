//! Further processes in the container: starting, killing as a tree, and telling how they ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ctr_spec::{ExecExit, ExecSpec, Failure, FailureKind, FdRole, SPEC_VERSION, ShimReply};
use ctr_sys::process::Child;

use super::Supervisor;
use crate::exec::{self, borrow};
use crate::failure::{Outcome, Step, refused};
use crate::init::handoff::Handoff;
use crate::launch::{abandon, begin, end, exit_status};
use crate::namespaces::is_exiting;
use crate::request::Descriptors;
use crate::rootfs::dev::open_terminal;

/// A running exec.
#[derive(Debug)]
pub struct Exec {
    pub(super) id: u64,
    pub(super) child: Child,
    pub(super) deadline: Option<Instant>,
    /// Its own control group, when its whole tree may have to be killed.
    group: Option<PathBuf>,
    timed_out: bool,
    started: Instant,
    oom_kills_before: u64,
    /// Until its program was executed. The container's processes may stop it on the way, for ever.
    starting: Option<Starting>,
}

/// Who is to be told what, when the program runs.
#[derive(Debug)]
struct Starting {
    handoff: Handoff,
    client: u64,
    is_detached: bool,
    /// The terminal's master side.
    terminal: Option<OwnedFd>,
}

fn ended_meanwhile() -> Failure {
    refused(FailureKind::NotRunning, "start a process", "", "the container ended meanwhile")
}

fn time_was_over() -> Failure {
    refused(FailureKind::Internal, "start a process", "", "its time was over before the program ran")
}

impl Exec {
    /// Readable when [`Supervisor::hear_exec`] has something to do.
    pub(super) fn interest(&self) -> &OwnedFd {
        self.starting.as_ref().map_or(&self.child.pidfd, |starting| starting.handoff.channel())
    }

    pub(super) fn keep_deadline(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.timed_out = true;
            self.kill();
        }
    }

    fn kill(&self) {
        if let Some(group) = &self.group {
            let _ = ctr_sys::cgroupfs::kill(group);
        }
        let successor = self.starting.as_ref().and_then(|starting| starting.handoff.successor());
        for child in [Some(&self.child), successor].into_iter().flatten() {
            let _ = ctr_sys::process::signal(child.pidfd.as_fd(), 9);
        }
    }
}

impl Supervisor {
    /// Begins to start an exec for a client, which is told when the program runs or why it does not.
    pub(super) fn start_exec(
        &mut self,
        client: u64,
        spec: &ExecSpec,
        is_detached: bool,
        descriptors: &mut Descriptors,
    ) -> Outcome<u64> {
        if spec.version != SPEC_VERSION || spec.process.args.is_empty() {
            let detail = "the version is unknown or there is no program to run";
            return Err(refused(FailureKind::BadRequest, "start a process", "", detail));
        }
        let id = self.next_exec;
        self.next_exec += 1;
        let streams = [FdRole::Stdin, FdRole::Stdout, FdRole::Stderr].map(|role| descriptors.take(role));
        let terminal = match (spec.terminal, &self.devpts) {
            (Some((rows, columns)), Some(devpts)) => Some(open_terminal(devpts, rows, columns)?),
            _ => None,
        };
        let group = match spec.timeout_ms.and_then(|_| self.cgroups.make_inner(&format!("exec-{id}"))) {
            Some(made) => Some(made.step(FailureKind::Internal, "make a control group for the process", "")?),
            None => None,
        };
        let oom_kills_before = self.cgroups.oom_kills();
        let (master, slave) = terminal.unzip();
        let begun = self
            .cgroups
            .entrance(group.as_deref())
            .step(FailureKind::NotRunning, "open the control groups", "")
            .and_then(|entrance| {
                begin(0, &entrance, true, |reporter| {
                    exec::run(exec::Plan {
                        spec,
                        init: self.init.pidfd.as_fd(),
                        seccomp: self.seccomp.as_deref(),
                        streams: borrow(&streams),
                        terminal: slave.as_ref().and_then(|slave| rustix::io::fcntl_dupfd_cloexec(slave, 3).ok()),
                        entrance: &entrance,
                        reporter,
                    })
                })
            });
        let (child, handoff) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                if let Some(group) = &group {
                    let _ = ctr_sys::cgroupfs::remove(group);
                }
                return Err(failure);
            }
        };
        let started = Instant::now();
        self.execs.push(Exec {
            id,
            child,
            deadline: spec.timeout_ms.map(|timeout| started + Duration::from_millis(timeout)),
            group,
            timed_out: false,
            started,
            oom_kills_before,
            starting: Some(Starting { handoff, client, is_detached, terminal: master }),
        });
        Ok(id)
    }

    /// Goes on with an exec that has something to tell: that its program runs, why it does not, or that it has ended.
    pub(super) fn hear_exec(&mut self, id: u64) {
        let Some(exec) = self.execs.iter_mut().find(|exec| exec.id == id) else { return };
        let Some(starting) = &mut exec.starting else { return self.reap_exec(id) };
        match starting.handoff.advance() {
            // It was killed already, and what it has said since does not count.
            Ok(false) if exec.timed_out => self.abandon_exec(id, time_was_over()),
            Ok(false) => {}
            Ok(true) => {
                exec.started = Instant::now();
                if let Some(Starting { client, is_detached, terminal, handoff }) = exec.starting.take() {
                    if let Some(successor) = handoff.into_received().successor {
                        end(&exec.child);
                        exec.child = successor;
                    }
                    if exec.timed_out {
                        exec.kill();
                    }
                    let pid = exec.child.pid;
                    let roles = terminal.iter().map(|_| FdRole::Terminal).collect();
                    let sent: Vec<BorrowedFd<'_>> = terminal.iter().map(AsFd::as_fd).collect();
                    self.tell(client, &ShimReply::ExecStarted { pid, fds: roles }, &sent);
                    if is_detached {
                        self.drop_client(client);
                    }
                }
            }
            Err(mut failure) => {
                if exec.timed_out {
                    failure = time_was_over();
                } else if is_exiting(self.init.pid) {
                    failure = ended_meanwhile();
                }
                self.abandon_exec(id, failure);
            }
        }
    }

    /// Ends an exec whose program does not run, and tells why.
    fn abandon_exec(&mut self, id: u64, mut failure: Failure) {
        let Some(index) = self.execs.iter().position(|exec| exec.id == id) else { return };
        let exec = self.execs.remove(index);
        if let Some(starting) = exec.starting {
            failure = abandon(&exec.child, starting.handoff, failure);
        }
        if let Some(group) = &exec.group {
            let _ = ctr_sys::cgroupfs::remove(group);
        }
        self.conclude_exec(id, &ShimReply::Failed { failure });
    }

    /// A client that went away does not wait for its exec to start any longer.
    pub(super) fn forget_client_of_execs(&mut self, client: u64) {
        let is_its = |exec: &Exec| exec.starting.as_ref().is_some_and(|starting| starting.client == client);
        if let Some(id) = self.execs.iter().find(|exec| is_its(exec)).map(|exec| exec.id) {
            self.abandon_exec(id, refused(FailureKind::Internal, "start a process", "", "nobody waits for it"));
        }
    }

    /// Tells how an exec ended, when it did.
    fn reap_exec(&mut self, id: u64) {
        let Some(index) = self.execs.iter().position(|exec| exec.id == id) else { return };
        let Some((exit_code, signal)) = exit_status(&self.execs[index].child.pidfd, false) else { return };
        let exec = self.execs.remove(index);
        if exec.timed_out {
            exec.kill();
        }
        let exit = ExecExit {
            exit_code,
            signal,
            timed_out: exec.timed_out,
            oom_killed: self.cgroups.oom_kills() > exec.oom_kills_before,
            duration_ns: exec.started.elapsed().as_nanos() as u64,
        };
        self.conclude_exec(exec.id, &ShimReply::ExecExited { exit });
        if let Some(group) = &exec.group {
            if exec.timed_out {
                let _ = ctr_sys::cgroupfs::remove(group);
            } else {
                // Processes that it left behind keep their group; the container's end takes it.
                let _ = std::fs::remove_dir(group);
            }
        }
    }

    /// The container has ended: so have its execs.
    pub(super) fn end_execs(&mut self) {
        for exec in &self.execs {
            exec.kill();
        }
        let ids: Vec<u64> = self.execs.iter().map(|exec| exec.id).collect();
        for id in ids {
            if let Some(exec) = self.execs.iter().find(|exec| exec.id == id) {
                if exec.starting.is_some() {
                    self.abandon_exec(id, ended_meanwhile());
                    continue;
                }
                // Killed just now; not reaped by this look.
                let _ = rustix::process::waitid(
                    rustix::process::WaitId::PidFd(exec.child.pidfd.as_fd()),
                    rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
                );
            }
            self.reap_exec(id);
        }
    }
}
