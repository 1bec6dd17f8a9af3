//! From the start request to a running container, or to nothing left behind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ctr_spec::{
    ExitRecord, Failure, FailureKind, FdRole, NamespaceMode, SPEC_VERSION, ShimReply, StartRequest, StartedRecord,
    StdioMode, files,
};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};

use super::{Input, STARTER, Supervisor, finish, records};
use crate::cgroup::{self, Cgroups};
use crate::exec::borrow;
use crate::failure::{Outcome, Step, exit_code_of, refused};
use crate::launch::{Launched, launch};
use crate::namespaces::{self, Namespaces, start_time_of};
use crate::request::{Descriptors, read_whole, reply};
use crate::streams::{Sink, StreamName, Streams};
use crate::{clock, init};

/// The container's place on disk.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    trash: Option<OwnedFd>,
    lock: Option<OwnedFd>,
}

impl Place {
    /// Takes its descriptors and goes there: paths like `upper` and `shim.sock` are relative from here on.
    pub fn take(descriptors: &mut Descriptors) -> Outcome<Self> {
        let step = "enter the container's directory";
        let Some(directory) = descriptors.take(FdRole::ContainerDir) else {
            return Err(refused(FailureKind::BadRequest, step, "", "no descriptor of it was sent"));
        };
        rustix::process::fchdir(&directory).step(FailureKind::Internal, step, "")?;
        let (trash, lock) = (descriptors.take(FdRole::TrashDir), descriptors.take(FdRole::Lock));
        Ok(Self { directory, trash, lock })
    }
}

/// A start that failed; everything that was made has been taken away again.
#[derive(Debug)]
pub struct FailedStart {
    failure: Failure,
    place: Place,
    id: String,
    auto_remove: bool,
}

impl FailedStart {
    /// Writes the record, answers, and removes the container if nobody is to see it again.
    pub fn conclude(self, control: &OwnedFd) {
        if !self.auto_remove {
            let record = ExitRecord {
                version: SPEC_VERSION,
                exit_code: exit_code_of(&self.failure),
                signal: None,
                oom_killed: false,
                timed_out: false,
                peak_memory_bytes: None,
                cpu_ns: None,
                started_at_ns: 0,
                finished_at_ns: clock::unix_ns(),
                duration_ns: 0,
                failure: Some(self.failure.clone()),
            };
            let _ = records::write(&self.place.directory, files::EXIT, &record);
        }
        let _ = std::fs::remove_file(files::SOCKET);
        let _ = reply(control.as_fd(), &ShimReply::Failed { failure: self.failure }, &[]);
        if self.auto_remove
            && let Some(trash) = &self.place.trash
        {
            finish::discard(&self.place.directory, trash, &self.id);
        }
    }
}

/// Starts the container and answers the starter.
pub fn start(
    control: &OwnedFd,
    request: StartRequest,
    mut descriptors: Descriptors,
    place: Place,
) -> Result<Supervisor, FailedStart> {
    let (id, auto_remove) = (request.spec.id.clone(), request.spec.auto_remove);
    let prepared = prepare(&request, &mut descriptors);
    let result = match prepared {
        Ok(Prepared { listener, signals, namespaces, cgroups, seccomp }) => {
            match begin(&request, &namespaces, &cgroups, seccomp.as_deref(), &mut descriptors) {
                Ok(begun) => Ok((listener, signals, cgroups, seccomp, begun)),
                Err(failure) => {
                    let _ = cgroups.kill();
                    cgroups.remove();
                    Err(failure)
                }
            }
        }
        Err(failure) => Err(failure),
    };
    let (listener, signals, cgroups, seccomp, begun) = match result {
        Ok(all) => all,
        Err(failure) => return Err(FailedStart { failure, place, id, auto_remove }),
    };
    let Begun { launched: Launched { child, received }, input, sources } = begun;
    let (started, started_at_ns) = (Instant::now(), clock::unix_ns());
    let record = StartedRecord {
        version: SPEC_VERSION,
        pid: child.pid,
        pid_start_time: start_time_of(child.pid).unwrap_or(0),
        shim_pid: rustix::process::getpid().as_raw_nonzero().get() as u32,
        started_at_ns,
    };
    let _ = records::write(&place.directory, files::STARTED, &record);
    let mut received_fds = received.fds.into_iter();
    let devpts = received_fds.next();
    let mut supervisor = Supervisor {
        streams: Streams::new(sources, &request.spec.log, &place.directory),
        deadline: request.spec.timeout_ms.map(|timeout| started + Duration::from_millis(timeout)),
        spec: request.spec,
        directory: place.directory,
        trash: place.trash,
        seccomp,
        init: child,
        devpts,
        input,
        listener,
        signals,
        clients: Vec::new(),
        next_client: STARTER + 1,
        execs: Vec::new(),
        next_exec: 1,
        timed_out: false,
        started,
        started_at_ns,
        ended: None,
        cgroups,
        _lock: place.lock,
    };
    if let (Some(master), Some(slave)) = (received_fds.next(), received_fds.next()) {
        supervisor.take_terminal(master, slave);
    }
    supervisor.answer_started(control, request.attach.as_ref(), descriptors, received.warnings);
    Ok(supervisor)
}

struct Prepared {
    listener: UnixListener,
    signals: OwnedFd,
    namespaces: Namespaces,
    cgroups: Cgroups,
    seccomp: Option<Vec<u8>>,
}

/// What must exist before the clone. The control groups come last: nothing after them here can fail.
fn prepare(request: &StartRequest, descriptors: &mut Descriptors) -> Outcome<Prepared> {
    let listener = listen().step(FailureKind::Internal, "listen for clients", files::SOCKET)?;
    let signals = ctr_sys::signals::descriptor(&[super::SIGTERM]).step(FailureKind::Internal, "receive signals", "")?;
    let seccomp = match descriptors.take(FdRole::SeccompProgram) {
        Some(fd) => Some(read_whole(fd).step(FailureKind::BadRequest, "read the system call filter", "")?),
        None => None,
    };
    let namespaces = namespaces::resolve(&request.spec.namespaces)?;
    let cgroups = cgroup::make(&request.cgroups)?;
    Ok(Prepared { listener, signals, namespaces, cgroups, seccomp })
}

fn listen() -> std::io::Result<UnixListener> {
    match std::fs::remove_file(files::SOCKET) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // For the owner alone: whoever may connect may do anything to the container.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(files::SOCKET);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Begun {
    launched: Launched,
    input: Input,
    sources: Vec<(StreamName, OwnedFd)>,
}

fn begin(
    request: &StartRequest,
    namespaces: &Namespaces,
    cgroups: &Cgroups,
    seccomp: Option<&[u8]>,
    descriptors: &mut Descriptors,
) -> Outcome<Begun> {
    let spec = &request.spec;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).step(FailureKind::Internal, "make a pipe", "");
    let mut streams = [None, None, None];
    let mut input = Input::None;
    let mut sources = Vec::new();
    match spec.stdio {
        StdioMode::Direct => {
            streams = [FdRole::Stdin, FdRole::Stdout, FdRole::Stderr].map(|role| descriptors.take(role));
        }
        StdioMode::Piped { open_stdin, stdin_once } => {
            if open_stdin {
                let (reader, writer) = pipe()?;
                streams[0] = Some(reader);
                input = Input::Pipe { writer, is_once: stdin_once };
            }
            for (index, name) in [(1, StreamName::Stdout), (2, StreamName::Stderr)] {
                let (reader, writer) = pipe()?;
                streams[index] = Some(writer);
                sources.push((name, reader));
            }
        }
        StdioMode::Terminal { .. } => {}
    }
    let entrance = cgroups.entrance(None).step(FailureKind::Internal, "open the control groups", "")?;
    let views = cgroups.views();
    let streams_borrowed: [Option<BorrowedFd<'_>>; 3] = borrow(&streams);
    let launched = launch(namespaces.new, &entrance, namespaces.shares_pids, |reporter| {
        init::run(&init::Plan {
            spec,
            namespaces,
            entrance: &entrance,
            views: &views,
            seccomp,
            streams: streams_borrowed,
            reporter,
        })
    })?;
    Ok(Begun { launched, input, sources })
}

impl Supervisor {
    /// The terminal replaces the pipes: its master is both input and output.
    fn take_terminal(&mut self, master: OwnedFd, slave: OwnedFd) {
        if let Ok(output) = rustix::io::fcntl_dupfd_cloexec(&master, 3) {
            self.streams = Streams::new(vec![(StreamName::Stdout, output)], &self.spec.log, &self.directory);
        }
        self.input = Input::Terminal { master, slave };
    }

    fn answer_started(
        &mut self,
        control: &OwnedFd,
        attach: Option<&ctr_spec::AttachRequest>,
        mut descriptors: Descriptors,
        refused_defaults: Vec<String>,
    ) {
        let writer = attach.and_then(|attach| self.attach(STARTER, attach, &mut descriptors));
        let mut warnings = std::mem::take(&mut self.cgroups.warnings);
        warnings.extend(refused_defaults);
        let message = ShimReply::Started {
            pid: self.init.pid,
            started_at_ns: self.started_at_ns,
            warnings,
            fds: writer.iter().map(|_| FdRole::StdinWriter).collect(),
        };
        let fds: Vec<BorrowedFd<'_>> = writer.iter().map(AsFd::as_fd).collect();
        let _ = reply(control.as_fd(), &message, &fds);
    }

    /// Adds a client's sinks and gives what it writes input to.
    pub(super) fn attach(
        &mut self,
        client: u64,
        request: &ctr_spec::AttachRequest,
        descriptors: &mut Descriptors,
    ) -> Option<OwnedFd> {
        for (role, name) in [(FdRole::SinkStdout, StreamName::Stdout), (FdRole::SinkStderr, StreamName::Stderr)] {
            if let Some(fd) = descriptors.take(role) {
                self.streams.add_sink(name, Sink::new(client, fd, request.is_lossless));
            }
        }
        if !request.stdin {
            return None;
        }
        match std::mem::replace(&mut self.input, Input::None) {
            Input::None => None,
            Input::Pipe { writer, is_once: true } => Some(writer),
            Input::Pipe { writer, is_once } => {
                let copy = rustix::io::fcntl_dupfd_cloexec(&writer, 3).ok();
                self.input = Input::Pipe { writer, is_once };
                copy
            }
            Input::Terminal { master, slave } => {
                let copy = rustix::io::fcntl_dupfd_cloexec(&master, 3).ok();
                self.input = Input::Terminal { master, slave };
                copy
            }
        }
    }

    /// Whether the first process is PID 1 of a namespace, whose end ends all others there.
    pub(super) fn has_own_pids(&self) -> bool {
        self.spec.namespaces.pid == NamespaceMode::Private
    }
}
