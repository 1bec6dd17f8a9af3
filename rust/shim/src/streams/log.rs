//! The log file in Docker's json-file form, with rotation. A full disk costs log lines, and never the container.

use std::os::fd::OwnedFd;

use ctr_spec::{LogDriver, LogSpec, files};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::StreamName;
use crate::clock::rfc3339;

/// An open log.
#[derive(Debug)]
pub struct LogFile {
    directory: OwnedFd,
    file: Option<OwnedFd>,
    max_size_bytes: u64,
    max_files: u32,
    /// Bytes that are whole records in the file.
    size_bytes: u64,
    pending: Vec<u8>,
}

impl LogFile {
    /// Opens the log of a container for appending; `None` when nothing is kept.
    pub fn open(spec: &LogSpec, directory: &OwnedFd) -> Option<Self> {
        if spec.driver == LogDriver::None {
            return None;
        }
        let directory = rustix::io::fcntl_dupfd_cloexec(directory, 3).ok()?;
        let mut log = Self {
            directory,
            file: None,
            max_size_bytes: spec.max_size_bytes,
            max_files: spec.max_files,
            size_bytes: 0,
            pending: Vec::new(),
        };
        log.reopen();
        Some(log)
    }

    fn reopen(&mut self) {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.file = rustix::fs::openat(&self.directory, files::LOG, flags, Mode::from_raw_mode(0o640)).ok();
        let size = self.file.as_ref().and_then(|file| rustix::fs::fstat(file).ok()).map(|status| status.st_size as u64);
        self.size_bytes = size.unwrap_or(0);
    }

    /// Adds one record; it is written by [`LogFile::flush`], or earlier when the file is full.
    pub fn append(&mut self, stream: StreamName, record: &[u8], unix_ns: u64) {
        let before = self.pending.len();
        self.pending.extend_from_slice(b"{\"log\":");
        // Writing a string into a vector cannot fail; invalid UTF-8 becomes U+FFFD.
        let _ = serde_json::to_writer(&mut self.pending, &String::from_utf8_lossy(record));
        let name = if stream == StreamName::Stdout { "stdout" } else { "stderr" };
        self.pending
            .extend_from_slice(format!(",\"stream\":\"{name}\",\"time\":\"{}\"}}\n", rfc3339(unix_ns)).as_bytes());
        let has_room = self.max_size_bytes == 0
            || self.size_bytes + self.pending.len() as u64 <= self.max_size_bytes
            || self.size_bytes + before as u64 == 0;
        if !has_room {
            let new = self.pending.split_off(before);
            self.flush();
            self.rotate();
            self.pending = new;
        }
    }

    /// Writes what was added.
    pub fn flush(&mut self) {
        let mut rest = self.pending.as_slice();
        if let Some(file) = &self.file {
            while !rest.is_empty() {
                match rustix::io::write(file, rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
            if rest.is_empty() {
                self.size_bytes += self.pending.len() as u64;
            } else {
                // Half a record would spoil the next one; nobody else writes to this file.
                let _ = rustix::fs::ftruncate(file, self.size_bytes);
            }
        }
        self.pending.clear();
    }

    fn rotate(&mut self) {
        let name = |index: u32| if index == 0 { files::LOG.to_owned() } else { format!("{}.{index}", files::LOG) };
        if self.max_files <= 1 {
            let _ = rustix::fs::unlinkat(&self.directory, files::LOG, AtFlags::empty());
        }
        for index in (1..self.max_files).rev() {
            let _ = rustix::fs::renameat(&self.directory, name(index - 1), &self.directory, name(index));
        }
        self.reopen();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &std::path::Path, max_size_bytes: u64, max_files: u32) -> LogFile {
        let spec = LogSpec { driver: LogDriver::JsonFile, max_size_bytes, max_files };
        LogFile::open(&spec, &std::fs::File::open(directory).unwrap().into()).unwrap()
    }

    #[test]
    fn records_are_dockers() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), 0, 1);
        log.append(StreamName::Stdout, b"a \"b\"\xff\n", 0);
        log.append(StreamName::Stderr, b"tail", 1);
        log.flush();
        assert_eq!(
            std::fs::read_to_string(directory.path().join(files::LOG)).unwrap(),
            "{\"log\":\"a \\\"b\\\"\u{fffd}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00.000000000Z\"}\n\
             {\"log\":\"tail\",\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:00.000000001Z\"}\n"
        );
    }

    #[test]
    fn rotation_keeps_whole_records_and_a_number_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = open(directory.path(), 250, 3);
        for number in 0..20 {
            log.append(StreamName::Stdout, format!("{number}\n").as_bytes(), 0);
        }
        log.flush();
        let mut kept = 0;
        for name in ["container.log", "container.log.1", "container.log.2"] {
            let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
            assert!(text.len() <= 250 && text.ends_with("}\n"), "{name}: {text}");
            kept += text.lines().count();
        }
        assert!(kept >= 5);
        assert!(!directory.path().join("container.log.3").exists());
        drop(log);
        let log = open(directory.path(), 250, 3);
        assert!(log.size_bytes > 0, "appends to what is there");
    }
}
