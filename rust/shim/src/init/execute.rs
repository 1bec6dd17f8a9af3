//! Finding and executing the program, and saying why it cannot be.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use ctr_spec::{Failure, FailureKind, ProcessSpec};
use ctr_sys::exec::Vectors;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Outcome, from_error, refused};

const STEP: &str = "execute";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program with its vectors and the places where it may lie.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    candidates: Vec<CString>,
    vectors: Vectors,
}

/// Makes vectors and candidates.
pub fn prepare(process: &ProcessSpec, home: &str) -> Outcome<Prepared> {
    let text = |text: &str| {
        let nul = |_| refused(FailureKind::BadRequest, STEP, text, "there is a NUL byte in it");
        CString::new(text).map_err(nul)
    };
    let name = process.args.first().cloned().unwrap_or_default();
    let mut environment: Vec<CString> = process.env.iter().map(|pair| text(pair)).collect::<Outcome<_>>()?;
    let value = |key: &str| process.env.iter().rev().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    if value("HOME").is_none() {
        environment.push(text(&format!("HOME={home}"))?);
    }
    let candidates = if name.is_empty() {
        Vec::new()
    } else if name.contains('/') {
        vec![text(&name)?]
    } else {
        let path = value("PATH").unwrap_or(DEFAULT_PATH);
        let places = path.split(':').map(|place| if place.is_empty() { "." } else { place });
        places.map(|place| text(&format!("{place}/{name}"))).collect::<Outcome<_>>()?
    };
    let arguments = process.args.iter().map(|argument| text(argument)).collect::<Outcome<_>>()?;
    Ok(Prepared { name, candidates, vectors: Vectors::new(arguments, environment) })
}

impl Prepared {
    /// Executes the first candidate that can be; returns only why none could.
    pub fn run(&self) -> Failure {
        let mut denied = None;
        for candidate in &self.candidates {
            let error = self.vectors.execute(candidate);
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NOTDIR) if !is_there(candidate) => {}
                Some(Errno::ACCESS) => {
                    denied.get_or_insert((candidate, error));
                }
                _ => return explain(candidate, &error),
            }
        }
        match denied {
            Some((candidate, error)) => explain(candidate, &error),
            None => Failure { errno: Errno::NOENT.raw_os_error(), ..not_found(&self.name) },
        }
    }
}

fn not_found(name: &str) -> Failure {
    let detail = match name {
        "" => "the name is empty",
        name if name.contains('/') => "there is no such file in the container",
        _ => "it is in no directory of PATH",
    };
    refused(FailureKind::CommandNotFound, STEP, name, detail)
}

fn is_there(path: &CString) -> bool {
    rustix::fs::statat(CWD, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn explain(path: &CString, error: &std::io::Error) -> Failure {
    let subject = path.to_string_lossy();
    let mut failure = from_error(FailureKind::CommandNotExecutable, STEP, &subject, error);
    let kind = rustix::fs::stat(path).map(|status| FileType::from_raw_mode(status.st_mode));
    failure.detail = match (Errno::from_io_error(error), kind) {
        (_, Ok(FileType::Directory)) => "it is a directory".into(),
        (Some(Errno::NOENT), Err(_)) => "it is a symbolic link that leads nowhere".into(),
        (Some(Errno::NOENT | Errno::NOTDIR), Ok(_)) => {
            let interpreter = interpreter_of(path).unwrap_or_else(|| "its interpreter or dynamic loader".into());
            format!("{interpreter} is missing in the container")
        }
        (Some(Errno::NOEXEC), Ok(_)) => format_of(path).into(),
        (Some(Errno::ACCESS), Ok(FileType::RegularFile)) => "there is no permission to execute it".into(),
        (Some(Errno::ACCESS), Ok(_)) => "it is not a regular file".into(),
        _ => String::new(),
    };
    failure
}

fn beginning_of(path: &CString) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let mut bytes = vec![0; 256];
    let count = rustix::io::read(&file, &mut bytes).ok()?;
    bytes.truncate(count);
    Some(bytes)
}

fn interpreter_of(path: &CString) -> Option<String> {
    let bytes = beginning_of(path)?;
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|part| !part.is_empty())?;
    Some(format!("its interpreter `{}`", std::ffi::OsStr::from_bytes(name).to_string_lossy()))
}

fn format_of(path: &CString) -> &'static str {
    match beginning_of(path) {
        Some(bytes) if bytes.starts_with(b"\x7fELF") => "it was built for another architecture",
        Some(bytes) if bytes.is_empty() => "it is empty",
        _ => "it is neither a program nor a script that names its interpreter (`#!`)",
    }
}
