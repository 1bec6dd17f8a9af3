//! Small bodies, read whole.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::Body;

/// Reads the body to its end, at most `limit` bytes and one more (so that the caller sees that it is too long), within
/// `patience` as a whole.
pub(crate) fn read_bounded(body: Body, limit: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut reader = body.into_reader().take(limit.saturating_add(1));
    let mut content = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = match reader.read(&mut chunk) {
            Ok(0) => return Ok(content),
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        content.extend_from_slice(&chunk[..count]);
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer trickles in too slowly"));
        }
    }
}
