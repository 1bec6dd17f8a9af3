//! The last stretch before the program, the same for a container's first process and for an exec.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ctr_spec::{FailureKind, ProcessSpec};
use rustix::fs::Mode;

use super::report::{Report, Reporter};
use super::{credentials, execute, rlimits};
use crate::failure::{Outcome, Step, refused};
use crate::rootfs::Root;
use crate::rootfs::target::Shape;
use crate::users::{self, Identity};

/// What becomes 0, 1 and 2.
#[derive(Debug)]
pub enum Standard<'a> {
    /// Given descriptors; absent ones are `/dev/null`.
    Streams([Option<BorrowedFd<'a>>; 3]),
    /// The slave side of a terminal, which becomes the controlling one.
    Terminal(OwnedFd),
}

/// Which process becomes the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The one that prepares it.
    Itself,
    /// One that it clones when it is prepared.
    Successor,
}

/// A program that is about to run in this process.
#[derive(Debug)]
pub struct Program<'a> {
    /// What to run.
    pub process: &'a ProcessSpec,
    /// The container's root, which already is this process's.
    pub root: &'a Root,
    /// System call filter.
    pub seccomp: Option<&'a [u8]>,
    /// Standard streams.
    pub standard: Standard<'a>,
    /// A missing working directory is made.
    pub makes_working_directory: bool,
    /// Where reports go.
    pub reporter: &'a Reporter,
}

impl Program<'_> {
    /// Identity, limits, privileges and streams. Afterwards this process is no more than the program will be, apart from
    /// its descriptors above 2.
    pub fn prepare(&self, by: By) -> Outcome<Identity> {
        let process = self.process;
        let identity = users::resolve(&process.user, &users::read(self.root))?;
        let step = "enter the working directory";
        let bad = FailureKind::BadWorkingDirectory;
        // Resolved beneath the root and without magic links: /proc/self/fd/N leads nowhere.
        let directory = if self.makes_working_directory {
            self.root.find_or_make(&process.cwd, Shape::Directory).step(
                bad,
                "make the working directory",
                &process.cwd,
            )?
        } else {
            self.root.find(&process.cwd).step(bad, step, &process.cwd)?
        };
        if let Standard::Terminal(slave) = &self.standard {
            let owner = Some(rustix::fs::Uid::from_raw(identity.uid));
            rustix::fs::fchown(slave, owner, None).step(FailureKind::Internal, "own the terminal", "")?;
        }
        rlimits::set(&process.rlimits, by, self.reporter)?;
        rustix::process::umask(Mode::from_raw_mode(process.umask.unwrap_or(0o022) & 0o777));
        let entered = rustix::process::fchdir(&directory);
        credentials::assume(process, &identity, self.seccomp)?;
        // Some file systems let only the user in, others only root.
        if entered.is_err() {
            rustix::process::fchdir(&directory).step(bad, step, &process.cwd)?;
        }
        let shown = rustix::process::getcwd(Vec::new()).step(bad, step, &process.cwd)?;
        if !shown.to_bytes().starts_with(b"/") {
            return Err(refused(bad, step, &process.cwd, "it lies outside of the container"));
        }
        self.connect_streams()?;
        Ok(identity)
    }

    /// Session, terminal, signals and the `execve`.
    pub fn hand_off(&self, identity: &Identity) -> Outcome<Infallible> {
        // Fails only for a process that leads its group already, which then has what it needs.
        let _ = rustix::process::setsid();
        if matches!(self.standard, Standard::Terminal(_)) {
            ctr_sys::signals::set_controlling_terminal(rustix::stdio::stdin()).step(
                FailureKind::Internal,
                "connect the standard streams",
                "terminal",
            )?;
        }
        ctr_sys::signals::reset_all();
        ctr_sys::signals::set_mask(&[]);
        // The change of credentials has cleared the wish.
        self.reporter.die_with_supervisor()?;
        let step = "leave only three descriptors open";
        ctr_sys::fds::close_from(3, true).step(FailureKind::KernelFeatureMissing, step, "")?;
        let prepared = execute::prepare(self.process, &identity.home)?;
        self.reporter.send(&Report::Ready, &[]);
        Err(prepared.run())
    }

    fn connect_streams(&self) -> Outcome<()> {
        let step = "connect the standard streams";
        match &self.standard {
            Standard::Terminal(slave) => {
                for number in 0..3 {
                    ctr_sys::fds::place(slave.as_fd(), number).step(FailureKind::Internal, step, "")?;
                }
                Ok(())
            }
            Standard::Streams(streams) => {
                // 0, 1 and 2 of the supervisor are /dev/null, and stay so where nothing was given.
                for (number, stream) in streams.iter().enumerate() {
                    if let Some(stream) = stream {
                        ctr_sys::fds::place(*stream, number as i32).step(FailureKind::Internal, step, "")?;
                    }
                }
                Ok(())
            }
        }
    }
}
