//! `run`: create, start and wait in one go - the fast path.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ctr_spec::{ContainerSpec, ExitRecord, FdRole, ShimReply, ShimRequest, StdioMode, files};

use super::connection::{Connection, unexpected};
use super::create::{make, parse};
use super::directory::ContainerDir;
use super::interrupt::{Interrupt, deadline_after, never, pause};
use super::pump::{Capture, Feed, pump};
use super::start::{await_end, await_started, launch};
use super::{remove, repair, spare};
use crate::{Error, ErrorKind, Result};

/// How long a killed container may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a container did.
#[derive(Debug)]
pub struct RunOutcome {
    /// How it ended.
    pub exit: ExitRecord,
    /// Everything that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything that it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Sentences about defaults that the machine refused.
    pub warnings: Vec<String>,
}

/// Makes the container's directory, starts it with three pipes, feeds `input` (`/dev/null` when absent), and collects its
/// output until it ended. An interrupt kills the container before it is passed on.
///
/// Kinds: those of `create` and `start`, and `ShimLost`; after a failed start nothing is left behind of a container that is
/// thrown away.
pub fn run(
    container_dir: &Path,
    trash_dir: &Path,
    spec_json: &[u8],
    input: Option<&[u8]>,
    interrupt: Interrupt<'_>,
) -> Result<RunOutcome> {
    let spec = parse(spec_json)?;
    if spec.stdio != StdioMode::Direct {
        return Err(Error::new(ErrorKind::InvalidArgument, "a container is run with direct streams"));
    }
    let (id, is_transient) = (spec.id.clone(), spec.auto_remove);
    // The shim comes to life on another processor while the directory is made.
    let connection = spare::take_or_spawn()?;
    let (directory, lock) = make(container_dir)?;
    let locked = ctr_sys::lock::try_lock(lock.as_fd());
    let result = match locked {
        Err(cause) => Err(Error::io("lock", &container_dir.join(files::LOCK), cause)),
        // Nobody else knows the directory yet but a sweeper, who takes it for abandoned.
        Ok(false) => Err(Error::new(ErrorKind::AlreadyRunning, "the container's directory was taken by somebody else")),
        Ok(true) => {
            // A container that is thrown away is never started again and needs no specification on disk.
            let kept = if is_transient { Ok(()) } else { directory.put(files::SPEC, spec_json) };
            kept.and_then(|()| start_and_collect(connection, &directory, spec, trash_dir, lock, input, interrupt))
        }
    };
    if let Err(error) = &result {
        if error.kind == ErrorKind::ShimLost {
            let _ = repair(container_dir, &id);
        }
        if is_transient {
            // The first error counts; what is left is found by the next comer.
            let _ = remove(container_dir, &id, trash_dir, &mut never());
        }
    }
    result
}

fn start_and_collect(
    mut connection: Connection,
    directory: &ContainerDir,
    spec: ContainerSpec,
    trash_dir: &Path,
    lock: OwnedFd,
    input: Option<&[u8]>,
    interrupt: Interrupt<'_>,
) -> Result<RunOutcome> {
    let (mut feed, stdin) = Feed::new(input)?;
    let (mut stdout, stdout_writer) = Capture::new()?;
    let (mut stderr, stderr_writer) = Capture::new()?;
    let mut fds = vec![(FdRole::Stdout, stdout_writer.as_fd()), (FdRole::Stderr, stderr_writer.as_fd())];
    fds.extend(stdin.iter().map(|stdin| (FdRole::Stdin, stdin.as_fd())));
    launch(&mut connection, directory, spec, trash_dir, &lock, fds, None)?;
    // Our copies would keep the pipes open, and the container locked.
    drop((stdin, stdout_writer, stderr_writer, lock));
    spare::replenish();
    let collected = await_started(&mut connection, interrupt).and_then(|started| {
        let reply = pump(&mut connection, &mut feed, [&mut stdout, &mut stderr], interrupt)?;
        match reply {
            ShimReply::Exited { record } => Ok((started.warnings, record)),
            other => Err(unexpected(&other)),
        }
    });
    match collected {
        Ok((warnings, exit)) => {
            Ok(RunOutcome { exit, stdout: stdout.into_bytes(), stderr: stderr.into_bytes(), warnings })
        }
        Err(error) => {
            if error.kind == ErrorKind::Cancelled {
                kill_and_wait(directory, &mut connection);
            }
            Err(error)
        }
    }
}

/// Kills the container through its shim and waits for both; gives up quietly after a while.
fn kill_and_wait(directory: &ContainerDir, connection: &mut Connection) {
    const SIGKILL: i32 = 9;
    let deadline = deadline_after(Some(KILL_TIMEOUT));
    // The shim may just be starting and not listening yet, or have ended already.
    loop {
        if let Ok(Some(socket)) = directory.connect() {
            let mut client = Connection::new(socket);
            let is_told = client.send(&ShimRequest::Signal { signal: SIGKILL, all: true }, &[]).is_ok()
                && matches!(client.reply(deadline, &mut never()), Ok(Some((ShimReply::Done, _))));
            if is_told {
                break;
            }
        }
        match connection.receive() {
            Ok(super::connection::Incoming::Reply(reply, _)) if matches!(*reply, ShimReply::Started { .. }) => {}
            Ok(super::connection::Incoming::Nothing) => {}
            _ => break,
        }
        if !matches!(pause(Duration::from_millis(2), deadline, &mut never()), Ok(true)) {
            break;
        }
    }
    let _ = connection.reply(deadline, &mut never());
    await_end(connection);
}
