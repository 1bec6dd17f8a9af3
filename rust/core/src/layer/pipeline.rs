//! The way of an archive's bytes: the calling thread reads and decompresses, a second one makes files, a third one
//! hashes; between them bounded queues of shared buffers.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ring::digest::{Context, SHA256};

use super::decompress::Decompressor;
use super::tar::ByteSource;
use crate::progress::{Phase, Progress};
use crate::{Error, ErrorKind, Result};

const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that may wait in a queue; with those in work about 3 MiB in all.
const QUEUED_CHUNKS: usize = 8;

/// What came out of a whole archive.
pub struct Digested<T> {
    /// `sha256:…` of the uncompressed bytes.
    pub diff_id: String,
    /// How many there were.
    pub archive_bytes: u64,
    /// What the consumer made of them.
    pub value: T,
}

/// Decompresses `reader`, gives the bytes to `consume` on a thread of its own, and hashes them all, also those after the
/// archive's end. `reader` has been read to its end when this succeeds.
pub fn run<T: Send>(
    reader: &mut (dyn Read + Send),
    max_bytes: u64,
    progress: Option<&Progress>,
    consume: impl FnOnce(&mut ChunkSource) -> Result<T> + Send,
) -> Result<Digested<T>> {
    let (to_consumer, from_producer) = sync_channel(QUEUED_CHUNKS);
    let (to_hasher, chunks_to_hash) = sync_channel(QUEUED_CHUNKS);
    thread::scope(|scope| {
        let consumer = thread::Builder::new().name("layer-files".into()).spawn_scoped(scope, move || {
            let mut source = ChunkSource { chunks: from_producer, chunk: None, position: 0, is_at_end: false };
            let value = consume(&mut source)?;
            source.drain()?;
            Ok(value)
        });
        let hasher =
            thread::Builder::new().name("layer-hash".into()).spawn_scoped(scope, move || hash(&chunks_to_hash));
        let (consumer, hasher) =
            (consumer.map_err(|cause| no_thread(&cause))?, hasher.map_err(|cause| no_thread(&cause))?);
        let produced = produce(reader, max_bytes, progress, &to_consumer, &to_hasher);
        drop((to_consumer, to_hasher));
        let value = consumer.join().unwrap_or_else(|_| Err(panicked()));
        let diff_id = hasher.join().map_err(|_| panicked());
        // Whoever failed first made the other one stop: a broken stream the consumer, a full disk the producer.
        let Some(archive_bytes) = produced? else { return value.and(Err(panicked())) };
        Ok(Digested { diff_id: diff_id?, archive_bytes, value: value? })
    })
}

fn no_thread(cause: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot start a thread to unpack the archive: {cause}"))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "unpacking the archive ended without a reason")
}

/// Returns the bytes produced, or `None` when the consumer gave up.
fn produce(
    reader: &mut (dyn Read + Send),
    max_bytes: u64,
    progress: Option<&Progress>,
    to_consumer: &SyncSender<Message>,
    to_hasher: &SyncSender<Arc<Chunk>>,
) -> Result<Option<u64>> {
    let mut decompressor = Decompressor::new(reader)?;
    let pool = Pool::default();
    let mut total = 0u64;
    loop {
        let mut bytes = pool.take();
        let mut filled = 0;
        let mut is_at_end = false;
        while filled < bytes.len() && !is_at_end {
            if let Some(progress) = progress {
                progress.check()?;
            }
            let count = decompressor.read(&mut bytes[filled..])?;
            filled += count;
            is_at_end = count == 0;
        }
        total += filled as u64;
        if total > max_bytes {
            return Err(too_large(max_bytes));
        }
        let chunk = Arc::new(Chunk { bytes, filled, pool: pool.clone() });
        let is_sent = to_hasher.send(Arc::clone(&chunk)).is_ok() && to_consumer.send(Message::Chunk(chunk)).is_ok();
        if !is_sent {
            return Ok(None);
        }
        if is_at_end {
            if let Some(progress) = progress {
                progress.set_phase(Phase::Extracting);
            }
            return Ok(to_consumer.send(Message::End).is_ok().then_some(total));
        }
    }
}

/// The error of an archive that asks for more than it may.
pub fn too_large(max_bytes: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the archive unpacks to more than {max_bytes} bytes, which is the limit"))
}

fn hash(chunks: &Receiver<Arc<Chunk>>) -> String {
    let mut context = Context::new(&SHA256);
    for chunk in chunks {
        context.update(&chunk.bytes[..chunk.filled]);
    }
    crate::content::digest_name(context.finish().as_ref())
}

enum Message {
    Chunk(Arc<Chunk>),
    End,
}

/// A shared buffer that returns to its pool when the last user drops it.
struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
    pool: Pool,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[derive(Clone, Default)]
struct Pool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| vec![0; CHUNK_BYTES])
    }
}

/// The consumer's end of the queue.
pub struct ChunkSource {
    chunks: Receiver<Message>,
    chunk: Option<Arc<Chunk>>,
    position: usize,
    is_at_end: bool,
}

impl ChunkSource {
    fn drain(&mut self) -> Result<()> {
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }
}

impl ByteSource for ChunkSource {
    fn fill(&mut self) -> Result<&[u8]> {
        while !self.is_at_end && self.chunk.as_ref().is_none_or(|chunk| self.position >= chunk.filled) {
            self.position = 0;
            self.chunk = None;
            match self.chunks.recv() {
                Ok(Message::Chunk(chunk)) => self.chunk = Some(chunk),
                Ok(Message::End) => self.is_at_end = true,
                // The producer failed and has a better error.
                Err(_) => return Err(Error::new(ErrorKind::Internal, "the archive's stream broke off")),
            }
        }
        Ok(self.chunk.as_ref().map_or(&[], |chunk| &chunk.bytes[self.position..chunk.filled]))
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}
