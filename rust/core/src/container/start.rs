//! `start`: one shim for one container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ctr_spec::{
    AttachRequest, ContainerSpec, FdRole, SPEC_VERSION, ShimReply, ShimRequest, StartRequest, StdioMode, files,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::connection::{Connection, lost, take_fd, unexpected};
use super::create::parse;
use super::directory::{ContainerDir, open_trash};
use super::failure::error_of;
use super::interrupt::{Interrupt, deadline_after, never};
use super::session::{Once, Session, StartedContainer};
use super::shim_program;
use crate::{Error, ErrorKind, Result, cgroup, seccomp};

/// A start that takes longer is stuck, even on a machine that swaps.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A shim that told a failure has only to take back what it made.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the starter wants of the container's streams.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartStreams<'a> {
    /// The shim writes standard output (or the terminal's output) here, from the first byte on.
    pub stdout_sink: Option<BorrowedFd<'a>>,
    /// The shim writes standard error here.
    pub stderr_sink: Option<BorrowedFd<'a>>,
    /// The starter wants to write to standard input.
    pub attach_stdin: bool,
}

/// Starts a created or ended container from its `spec.json`.
///
/// Kinds: `NotFound`, `AlreadyRunning`, `ShimLost` and those of a failed step ([`ctr_spec::FailureKind`]).
pub fn start(
    container_dir: &Path,
    trash_dir: &Path,
    streams: StartStreams<'_>,
    interrupt: Interrupt<'_>,
) -> Result<StartedContainer> {
    let directory = ContainerDir::open_existing(container_dir)?;
    let spec_json = directory.read(files::SPEC)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the container `{}` was never completed", container_dir.display()))
    })?;
    let spec = parse(&spec_json)?;
    if spec.stdio == StdioMode::Direct {
        return Err(Error::new(ErrorKind::InvalidArgument, "a container with direct streams can only be run"));
    }
    let lock = directory.lock_when_ended(interrupt)?;
    // A shim that was killed may have left processes and groups behind; a new one would trip over them.
    let machine = cgroup::host()?;
    cgroup::kill_leftovers(machine, &spec.id)?;
    cgroup::remove_leftovers(machine, &spec.id)?;
    // In this order: between the two the container still reads as ended, never as running with an old pid.
    for name in [files::STARTED, files::EXIT, files::SOCKET] {
        directory.unlink(name)?;
    }
    let mut fds = Vec::new();
    fds.extend(streams.stdout_sink.map(|fd| (FdRole::SinkStdout, fd)));
    fds.extend(streams.stderr_sink.map(|fd| (FdRole::SinkStderr, fd)));
    let is_attached = !fds.is_empty() || streams.attach_stdin;
    let attach = is_attached.then_some(AttachRequest { stdin: streams.attach_stdin, is_lossless: true });
    let mut connection = spawn()?;
    launch(&mut connection, &directory, spec, trash_dir, &lock, fds, attach)?;
    // From here on only the shim holds it.
    drop(lock);
    let started = await_started(&mut connection, interrupt)?;
    Ok(StartedContainer {
        pid: started.pid,
        started_at_ns: started.at_ns,
        warnings: started.warnings,
        stdin: Once::new(started.stdin),
        session: Session::new(connection),
    })
}

/// What the shim says when the program was executed.
#[derive(Debug)]
pub struct Started {
    pub pid: u32,
    pub at_ns: u64,
    pub warnings: Vec<String>,
    pub stdin: Option<OwnedFd>,
}

/// Gives a spawned shim everything; the caller's copies of `lock` and `streams` are for the caller to close.
pub fn launch(
    connection: &mut Connection,
    directory: &ContainerDir,
    spec: ContainerSpec,
    trash_dir: &Path,
    lock: &OwnedFd,
    streams: Vec<(FdRole, BorrowedFd<'_>)>,
    attach: Option<AttachRequest>,
) -> Result<()> {
    let cgroups = cgroup::plan(cgroup::host()?, &spec.limits, &spec.devices, &spec.id)?;
    let program = seccomp::program_fd(&spec.seccomp, spec.process.capabilities)?;
    let trash = open_trash(trash_dir)?;
    let mut fds = vec![
        (FdRole::ContainerDir, directory.as_fd()),
        (FdRole::Lock, lock.as_fd()),
        (FdRole::TrashDir, trash.as_fd()),
    ];
    fds.extend(program.iter().map(|program| (FdRole::SeccompProgram, program.as_fd())));
    fds.extend(streams);
    let (roles, fds): (Vec<FdRole>, Vec<BorrowedFd<'_>>) = fds.into_iter().unzip();
    let request = StartRequest { version: SPEC_VERSION, spec, cgroups, attach };
    let request = ShimRequest::Start { request: Box::new(request), fds: roles };
    match connection.send(&request, &fds) {
        // A shim in reserve that was just tired of waiting.
        Err(error) if error.kind == ErrorKind::ShimLost => {
            *connection = spawn()?;
            connection.send(&request, &fds)
        }
        other => other,
    }
}

/// Starts a shim that waits for its start request, and ends when the connection is closed without one.
pub fn spawn() -> Result<Connection> {
    let executable = shim_program::executable()?;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|cause| Error::new(ErrorKind::Io, format!("cannot make a pair of sockets: {cause}")))?;
    ctr_sys::spawn_detached(executable.as_fd(), &[c"pyrust-ctr-shim"], &[], theirs.as_fd()).map_err(|cause| Error {
        errno: cause.raw_os_error(),
        ..Error::new(ErrorKind::Io, format!("cannot start a shim: {cause}"))
    })?;
    Ok(Connection::new(ours))
}

/// Waits until the program was executed, or for the reason why it was not.
pub fn await_started(connection: &mut Connection, interrupt: Interrupt<'_>) -> Result<Started> {
    let Some((reply, fds)) = connection.reply(deadline_after(Some(START_TIMEOUT)), interrupt)? else {
        return Err(lost());
    };
    match reply {
        ShimReply::Started { pid, started_at_ns, warnings, fds: roles } => {
            Ok(Started { pid, at_ns: started_at_ns, warnings, stdin: take_fd(&roles, fds, FdRole::StdinWriter) })
        }
        ShimReply::Failed { failure } => {
            await_end(connection);
            Err(error_of(&failure))
        }
        other => Err(unexpected(&other)),
    }
}

/// Waits until the shim has gone, so that the next comer finds the container free; gives up quietly.
pub fn await_end(connection: &mut Connection) {
    let deadline = deadline_after(Some(CLEAN_UP_TIMEOUT));
    while let Ok(Some(_)) = connection.reply(deadline, &mut never()) {}
}
