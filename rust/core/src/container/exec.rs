//! `exec`: a further process in a running container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use ctr_spec::{ExecExit, ExecSpec, FdRole, ShimReply, ShimRequest};

use super::connection::{Connection, lost, take_fd, unexpected};
use super::directory::ContainerDir;
use super::failure::error_of;
use super::interrupt::{Interrupt, deadline_after};
use super::probe::{ContainerState, probe};
use super::pump::{Capture, Feed, pump};
use super::session::{Once, Session, StartedExec};
use super::spec_check;
use crate::{Error, ErrorKind, Result};

/// An exec whose program is not running after this long is stuck.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The streams of an exec; absent ones are `/dev/null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecStreams<'a> {
    /// Standard input.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Standard output.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Standard error.
    pub stderr: Option<BorrowedFd<'a>>,
}

/// What an exec did.
#[derive(Debug)]
pub struct ExecOutcome {
    /// How it ended.
    pub exit: ExecExit,
    /// Everything that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything that it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// Runs a process with the given descriptors as its streams, or with a terminal of its own.
///
/// Kinds: `NotRunning`, `InvalidArgument`, `ShimLost` and those of a failed step.
pub fn exec(
    container_dir: &Path,
    exec_json: &[u8],
    streams: ExecStreams<'_>,
    is_detached: bool,
    interrupt: Interrupt<'_>,
) -> Result<StartedExec> {
    let spec = parse(exec_json)?;
    let mut connection = connect(container_dir)?;
    let (pid, terminal) = begin(&mut connection, spec, streams, is_detached, interrupt)
        .map_err(|error| lost_or_ended(error, container_dir))?;
    Ok(StartedExec { pid, terminal, session: Session::new(connection) })
}

/// Runs a process, feeds `input` (`/dev/null` when absent) and collects its output until it ended.
pub fn exec_capture(
    container_dir: &Path,
    exec_json: &[u8],
    input: Option<&[u8]>,
    interrupt: Interrupt<'_>,
) -> Result<ExecOutcome> {
    let spec = parse(exec_json)?;
    if spec.terminal.is_some() {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the output of an exec with a terminal cannot be collected",
        ));
    }
    let mut connection = connect(container_dir)?;
    let (mut feed, stdin) = Feed::new(input)?;
    let (mut stdout, stdout_writer) = Capture::new()?;
    let (mut stderr, stderr_writer) = Capture::new()?;
    let streams = ExecStreams {
        stdin: stdin.as_ref().map(AsFd::as_fd),
        stdout: Some(stdout_writer.as_fd()),
        stderr: Some(stderr_writer.as_fd()),
    };
    begin(&mut connection, spec, streams, false, interrupt).map_err(|error| lost_or_ended(error, container_dir))?;
    // Our copies would keep the pipes open.
    drop((stdin, stdout_writer, stderr_writer));
    match pump(&mut connection, &mut feed, [&mut stdout, &mut stderr], interrupt)? {
        ShimReply::ExecExited { exit } => {
            Ok(ExecOutcome { exit, stdout: stdout.into_bytes(), stderr: stderr.into_bytes() })
        }
        other => Err(unexpected(&other)),
    }
}

fn parse(exec_json: &[u8]) -> Result<ExecSpec> {
    let spec: ExecSpec = serde_json::from_slice(exec_json).map_err(|cause| {
        Error::new(ErrorKind::InvalidArgument, format!("the exec specification is malformed: {cause}"))
    })?;
    spec_check::version(spec.version)?;
    spec_check::id(&spec.id)?;
    spec_check::process(&spec.process)?;
    Ok(spec)
}

/// A conversation with the container's shim; kind `NotRunning` when it has none.
pub fn connect(container_dir: &Path) -> Result<Connection> {
    let not_running = || Error::new(ErrorKind::NotRunning, "the container is not running");
    let directory = ContainerDir::open(container_dir)?.ok_or_else(not_running)?;
    directory.connect()?.map(Connection::new).ok_or_else(not_running)
}

/// A shim that hangs up because its container has just ended was not lost.
pub fn lost_or_ended(error: Error, container_dir: &Path) -> Error {
    let has_ended = || !matches!(probe(container_dir).map(|probe| probe.state), Ok(ContainerState::Running));
    if error.kind == ErrorKind::ShimLost && has_ended() {
        return Error::new(ErrorKind::NotRunning, "the container is not running");
    }
    error
}

fn begin(
    connection: &mut Connection,
    spec: ExecSpec,
    streams: ExecStreams<'_>,
    is_detached: bool,
    interrupt: Interrupt<'_>,
) -> Result<(u32, Once)> {
    let all = [(FdRole::Stdin, streams.stdin), (FdRole::Stdout, streams.stdout), (FdRole::Stderr, streams.stderr)];
    let (roles, fds): (Vec<FdRole>, Vec<BorrowedFd<'_>>) =
        all.into_iter().filter_map(|(role, fd)| Some((role, fd?))).unzip();
    connection.send(&ShimRequest::Exec { spec: Box::new(spec), fds: roles, detach: is_detached }, &fds)?;
    let Some((reply, fds)) = connection.reply(deadline_after(Some(START_TIMEOUT)), interrupt)? else {
        return Err(lost());
    };
    match reply {
        ShimReply::ExecStarted { pid, fds: roles } => Ok((pid, Once::new(take_fd(&roles, fds, FdRole::Terminal)))),
        ShimReply::Failed { failure } => Err(error_of(&failure)),
        other => Err(unexpected(&other)),
    }
}
