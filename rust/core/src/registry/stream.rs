//! A layer's bytes as one unbroken stream: reconnects where the network breaks, fails where the content is not what
//! was asked for. Its end is only reached when size and digest are right.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ureq::BodyReader;
use ureq::http::header::{CONTENT_RANGE, RANGE, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, HeaderValue};

use super::Registry;
use super::address::Origin;
use super::client::{Client, Target};
use super::digest::{Digest, Hasher};
use super::failure::{Broken, Failure};
use super::retry::Attempts;
use super::transport::{Answer, Connections};
use crate::progress::{Phase, Progress};
use crate::{Error, ErrorKind, Result};

/// What a connection has to bring before the patience with its successors begins anew, bytes.
const WORTHWHILE_BYTES: u64 = 64 * 1024;
/// How soon a silent connection notices that the caller cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// The compressed archive of one layer while it arrives.
///
/// Its errors are [`Error`]s inside of `io::Error`.
pub struct LayerStream<'a> {
    registry: &'a Registry,
    client: Arc<Client>,
    target: Arc<Target>,
    digest: Digest,
    size: u64,
    progress: Option<&'a Arc<Progress>>,
    connections: Arc<Connections>,
    watch: Option<CancelWatch>,
    source: Option<Source>,
    hasher: Option<Hasher>,
    received: u64,
    attempts: Attempts,
    /// Bytes since the last connection broke.
    gained: u64,
    /// What ended the stream; whoever reads on gets it again.
    failure: Option<(ErrorKind, String)>,
}

/// A body that is being read.
struct Source {
    body: BodyReader<'static>,
    /// Who sends it.
    origin: Origin,
    /// True when its end is marked: a body that ends early then is what the server has, not a broken connection.
    is_chunked: bool,
}

impl<'a> LayerStream<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        (digest, target): (Digest, Target),
        size: u64,
        progress: Option<&'a Arc<Progress>>,
    ) -> Self {
        let connections = registry.idle.take(&registry.client.settings);
        Self {
            watch: progress.and_then(|progress| CancelWatch::start(progress, &connections)),
            client: Arc::clone(&registry.client),
            registry,
            target: Arc::new(target),
            hasher: Some(digest.hasher()),
            digest,
            size,
            progress,
            connections,
            source: None,
            received: 0,
            attempts: Attempts::default(),
            gained: 0,
            failure: None,
        }
    }

    /// True when a read failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn check_cancelled(&self) -> Result<()> {
        self.progress.map_or(Ok(()), |progress| progress.check())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            self.check_cancelled()?;
            let missing = self.size - self.received;
            if missing == 0 {
                return self.finish().map(|()| 0);
            }
            let Some(source) = self.source.as_mut() else {
                self.connect()?;
                continue;
            };
            let room = usize::try_from(missing).unwrap_or(usize::MAX).min(buffer.len());
            let cause = match source.body.read(&mut buffer[..room]) {
                Ok(0) if source.is_chunked => {
                    let fault = format!("ends after {} bytes where {} are expected", self.received, self.size);
                    return Err(self.fault(ErrorKind::SizeMismatch, &fault));
                }
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => {
                    self.take_in(&buffer[..count]);
                    return Ok(count);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => cause,
            };
            let origin = source.origin.clone();
            self.source = None;
            let failure = self.broken(&origin, cause);
            self.wait_after(failure)?;
        }
    }

    fn take_in(&mut self, content: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(content);
        }
        self.received += content.len() as u64;
        self.gained += content.len() as u64;
        if self.gained >= WORTHWHILE_BYTES {
            self.attempts.reset();
        }
        if let Some(progress) = self.progress {
            progress.advance(content.len() as u64);
        }
    }

    /// What a broken read means.
    fn broken(&self, origin: &Origin, cause: io::Error) -> Failure {
        let timeout = self.client.settings.timeout;
        Broken::from_transport(origin, &cause.into(), timeout).about(&self.client.subject(&self.target))
    }

    /// Waits before the next attempt. A connection that was cut by cancelling breaks with some error of its own.
    fn wait_after(&mut self, failure: Failure) -> Result<()> {
        self.check_cancelled()?;
        self.gained = 0;
        self.attempts.wait_after(failure, self.progress.map(Arc::as_ref))
    }

    /// Connects until there is a body that continues after what was received.
    fn connect(&mut self) -> Result<()> {
        loop {
            self.check_cancelled()?;
            match self.open_at(self.received) {
                Ok(source) => {
                    self.source = Some(source);
                    return Ok(());
                }
                Err(failure) => self.wait_after(failure)?,
            }
        }
    }

    fn open_at(&self, offset: u64) -> std::result::Result<Source, Failure> {
        let mut headers = Vec::new();
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"))
                .map_err(|_| Error::new(ErrorKind::Internal, "a byte range is not a header"))?;
            headers.push((RANGE, range));
        }
        let answer = match self.progress {
            Some(progress) => {
                self.client.request_until_cancelled(&self.connections, &self.target, headers, progress)?
            }
            None => self.client.request(&self.connections, &self.target, &headers)?,
        };
        match answer.status {
            200 => self.whole(answer, offset),
            206 if offset > 0 => self.part(answer, offset),
            status => {
                let subject = self.client.subject(&self.target);
                Err(subject.refusal(&answer.origin, status, &answer.headers, answer.body))
            }
        }
    }

    /// A server that sends everything (again): what is here already is stepped over.
    fn whole(&self, answer: Answer, offset: u64) -> std::result::Result<Source, Failure> {
        if let Some(announced) = answer.body.content_length() {
            self.check_announced(announced, self.size)?;
        }
        let mut source = Source::from(answer);
        let mut left = offset;
        let mut chunk = vec![0; 64 * 1024];
        while left > 0 {
            self.check_cancelled()?;
            let room = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match source.body.read(&mut chunk[..room]) {
                Ok(0) => return Err(self.broken(&source.origin, io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => left -= count as u64,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.broken(&source.origin, cause)),
            }
        }
        Ok(source)
    }

    /// A server that continues where we asked it to.
    fn part(&self, answer: Answer, offset: u64) -> std::result::Result<Source, Failure> {
        let Some((first, last, total)) = content_range(&answer.headers) else {
            return Err(self.fault(ErrorKind::RegistryError, "continued without saying where").into());
        };
        if first != offset || last != self.size - 1 {
            let fault = format!("continued with the bytes {first}-{last}, not with {offset}-{}", self.size - 1);
            return Err(self.fault(ErrorKind::RegistryError, &fault).into());
        }
        if let Some(total) = total {
            self.check_announced(total, self.size)?;
        }
        if let Some(announced) = answer.body.content_length() {
            self.check_announced(announced, last - first + 1)?;
        }
        Ok(Source::from(answer))
    }

    fn fault(&self, kind: ErrorKind, fault: &str) -> Error {
        self.client.error(kind, &self.target, fault)
    }

    fn check_announced(&self, announced: u64, expected: u64) -> Result<()> {
        if announced == expected {
            return Ok(());
        }
        let fault = format!("is announced with {announced} bytes where {expected} are expected");
        Err(self.fault(ErrorKind::SizeMismatch, &fault))
    }

    /// Everything is here: nothing may follow, and the digest has to be right.
    fn finish(&mut self) -> Result<()> {
        if let Some(mut source) = self.source.take() {
            let mut beyond = [0];
            // A connection that breaks here broke after the last byte that matters.
            if matches!(source.body.read(&mut beyond), Ok(1..)) {
                let fault = format!("is longer than the {} bytes that its manifest says", self.size);
                return Err(self.fault(ErrorKind::SizeMismatch, &fault));
            }
        }
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let actual = hasher.finish();
        if actual != self.digest {
            return Err(self.fault(ErrorKind::DigestMismatch, &format!("came with the digest `{actual}`")));
        }
        if let Some(progress) = self.progress {
            progress.set_phase(Phase::Extracting);
        }
        Ok(())
    }
}

impl From<Answer> for Source {
    fn from(answer: Answer) -> Self {
        let is_chunked = answer.headers.contains_key(TRANSFER_ENCODING);
        Self { body: answer.body.into_reader(), origin: answer.origin, is_chunked }
    }
}

impl Read for LayerStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Some((kind, message)) = &self.failure {
            return Err(io::Error::other(Error::new(*kind, message.clone())));
        }
        self.next(buffer).map_err(|error| {
            self.failure = Some((error.kind, error.message.clone()));
            io::Error::other(error)
        })
    }
}

impl Drop for LayerStream<'_> {
    fn drop(&mut self) {
        // From here on nobody cuts these connections; a body that was not read to its end closes its own.
        self.watch = None;
        self.source = None;
        if self.check_cancelled().is_err() {
            // A request may be left on its own thread; its connections are not for others.
            self.connections.cut();
        }
        self.registry.idle.give_back(&self.connections);
    }
}

/// First byte, last byte and, where it is known, the size of the whole (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// A thread that cuts the connections of a transfer once its caller cancels: a read that waits for a silent server does
/// not look at flags.
struct CancelWatch {
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl CancelWatch {
    /// None when the machine refuses a thread: cancelling is then noticed between two reads only.
    fn start(progress: &Arc<Progress>, connections: &Arc<Connections>) -> Option<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (progress, connections, seen) = (Arc::clone(progress), Arc::clone(connections), Arc::clone(&is_over));
        let watch = move || {
            while !seen.load(Ordering::SeqCst) {
                if progress.check().is_err() {
                    connections.cut();
                }
                std::thread::park_timeout(CANCEL_POLL);
            }
        };
        let thread = std::thread::Builder::new().name("pull-cancel".to_owned()).spawn(watch).ok()?;
        Some(Self { thread: Some(thread), is_over })
    }
}

impl Drop for CancelWatch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only sleeps and sets flags; it has nothing to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(read("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(read("bytes 5-9/*"), Some((5, 9, None)));
        for bad in ["bytes */10", "5-9/10", "bytes 5-/10", "bytes -5/10", "bytes 5-9", "items 5-9/10", "bytes 5-9/x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
