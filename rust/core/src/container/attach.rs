//! `attach`: a client beside (or after) the starter.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use ctr_spec::{AttachRequest, FdRole, ShimReply, ShimRequest};

use super::connection::{Connection, lost, take_fd, unexpected};
use super::exec::{connect, lost_or_ended};
use super::failure::error_of;
use super::interrupt::{Interrupt, deadline_after};
use super::session::{Attachment, Once, Session};
use super::start::StartStreams;
use crate::Result;

const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Copies the container's output to the sinks from now on; the container waits for a client that does not read, as it
/// does for a terminal that is stopped. Kind `NotRunning`.
pub fn attach(container_dir: &Path, streams: StartStreams<'_>, interrupt: Interrupt<'_>) -> Result<Attachment> {
    let connection = connect(container_dir)?;
    begin(connection, streams, interrupt).map_err(|error| lost_or_ended(error, container_dir))
}

fn begin(mut connection: Connection, streams: StartStreams<'_>, interrupt: Interrupt<'_>) -> Result<Attachment> {
    let all = [(FdRole::SinkStdout, streams.stdout_sink), (FdRole::SinkStderr, streams.stderr_sink)];
    let (roles, fds): (Vec<FdRole>, Vec<BorrowedFd<'_>>) =
        all.into_iter().filter_map(|(role, fd)| Some((role, fd?))).unzip();
    let request = AttachRequest { stdin: streams.attach_stdin, is_lossless: true };
    connection.send(&ShimRequest::Attach { request, fds: roles }, &fds)?;
    let Some((reply, fds)) = connection.reply(deadline_after(Some(REPLY_TIMEOUT)), interrupt)? else {
        return Err(lost());
    };
    match reply {
        ShimReply::Attached { fds: roles } => Ok(Attachment {
            stdin: Once::new(take_fd(&roles, fds, FdRole::StdinWriter)),
            session: Session::new(connection),
        }),
        ShimReply::Failed { failure } => Err(error_of(&failure)),
        other => Err(unexpected(&other)),
    }
}
