//! Further processes in the container: starting, killing as a tree, and telling how they ended.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ctr_spec::{ExecExit, ExecSpec, FailureKind, FdRole, SPEC_VERSION, ShimReply};
use ctr_sys::namespace;
use ctr_sys::process::Child;

use super::Supervisor;
use crate::exec::{self, borrow};
use crate::failure::{Outcome, Step, refused};
use crate::launch::{exit_status, launch};
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
}

/// What the client is told.
pub struct StartedExec {
    pub(super) id: u64,
    pub(super) pid: u32,
    /// The terminal's master side.
    pub(super) terminal: Option<OwnedFd>,
}

impl Exec {
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
        let _ = ctr_sys::process::signal(self.child.pidfd.as_fd(), 9);
    }
}

impl Supervisor {
    pub(super) fn start_exec(&mut self, spec: &ExecSpec, descriptors: &mut Descriptors) -> Outcome<StartedExec> {
        if spec.version != SPEC_VERSION || spec.process.args.is_empty() {
            let detail = "the version is unknown or there is no program to run";
            return Err(refused(FailureKind::BadRequest, "start a process", "", detail));
        }
        self.enter_pid_namespace()?;
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
        let launched = self
            .cgroups
            .entrance(group.as_deref())
            .step(FailureKind::NotRunning, "open the control groups", "")
            .and_then(|entrance| {
                launch(0, &entrance, |reporter| {
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
        let launched = match launched {
            Ok(launched) => launched,
            Err(failure) => {
                if let Some(group) = &group {
                    let _ = ctr_sys::cgroupfs::remove(group);
                }
                return Err(failure);
            }
        };
        let (started, pid) = (Instant::now(), launched.child.pid);
        self.execs.push(Exec {
            id,
            child: launched.child,
            deadline: spec.timeout_ms.map(|timeout| started + Duration::from_millis(timeout)),
            group,
            timed_out: false,
            started,
            oom_kills_before,
        });
        Ok(StartedExec { id, pid, terminal: master })
    }

    /// Children of this process land in the container's pid namespace from now on; done when first needed.
    fn enter_pid_namespace(&mut self) -> Outcome<()> {
        if self.has_own_pids() && !self.has_joined_pids {
            namespace::join(self.init.pidfd.as_fd(), namespace::PID).step(
                FailureKind::NotRunning,
                "join the container's namespaces",
                "",
            )?;
            self.has_joined_pids = true;
        }
        Ok(())
    }

    /// Tells how an exec ended, when it did.
    pub(super) fn reap_exec(&mut self, id: u64) {
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
