//! A layer from the registry into the store.

use std::sync::Arc;

use super::{LayerStream, Registry};
use crate::layer::{ApplyLimits, LayerInfo, LayerStore};
use crate::progress::{Phase, Progress};
use crate::{Error, ErrorKind, Result};

/// A layer blob as a manifest and its config describe it.
#[derive(Clone, Copy, Debug)]
pub struct LayerBlob<'a> {
    /// The repository that holds it.
    pub repository: &'a str,
    /// The digest of the compressed blob.
    pub digest: &'a str,
    /// The size of the compressed blob, bytes.
    pub size: u64,
    /// The digest of the uncompressed archive.
    pub diff_id: &'a str,
}

impl Registry {
    /// The blob's bytes as a stream whose end is reached only when size and digest are right; broken connections are
    /// taken up again where they broke. Nothing is sent before the first read.
    pub fn stream_layer<'a>(
        &'a self,
        blob: &LayerBlob<'_>,
        progress: Option<&'a Arc<Progress>>,
    ) -> Result<LayerStream<'a>> {
        let parts = Self::blob_target(blob.repository, blob.digest)?;
        Ok(LayerStream::new(self, parts, blob.size, progress))
    }

    /// Fetches a layer, unpacks it while it arrives, and keeps it; waits while another thread or process fetches the
    /// same layer, and does nothing when it is here.
    ///
    /// Kinds: those of [`LayerStore::apply_stream`], `SizeMismatch`, `DigestMismatch`, `Unauthorized`,
    /// `RegistryUnreachable`, `RegistryError`, `Cancelled`.
    pub fn pull_layer(
        &self,
        store: &dyn LayerStore,
        blob: &LayerBlob<'_>,
        limits: ApplyLimits,
        progress: Option<&Arc<Progress>>,
    ) -> Result<LayerInfo> {
        let observer = progress.map(Arc::as_ref);
        let enter = |phase| {
            if let Some(progress) = observer {
                progress.set_phase(phase);
            }
        };
        if let Some(layer) = store.layer(blob.diff_id)? {
            enter(Phase::AlreadyExists);
            return Ok(layer);
        }
        let mut stream = self.stream_layer(blob, progress)?;
        let _lock = store.lock_layer(blob.diff_id, observer)?;
        if let Some(layer) = store.layer(blob.diff_id)? {
            enter(Phase::AlreadyExists);
            return Ok(layer);
        }
        if let Some(progress) = observer {
            progress.set_total(blob.size);
        }
        enter(Phase::Downloading);
        let layer = store
            .apply_stream(Some(blob.diff_id), &mut stream, &limits, observer)
            .map_err(|error| explain(error, &mut stream, blob))?;
        enter(Phase::Complete);
        Ok(layer)
    }
}

/// A failed unpacking in terms of the pull. Content that cannot be unpacked is often not the content that was asked
/// for, which the digest tells once the rest is here; and what the stream did not say itself lacks the layer's name.
fn explain(error: Error, stream: &mut LayerStream<'_>, blob: &LayerBlob<'_>) -> Error {
    if stream.has_failed() {
        return error;
    }
    if error.kind == ErrorKind::MalformedArchive {
        let rest = std::io::copy(stream, &mut std::io::sink());
        let cause = rest.err().and_then(|cause| cause.downcast::<Error>().ok());
        let says_more = |cause: &Error| {
            matches!(cause.kind, ErrorKind::DigestMismatch | ErrorKind::SizeMismatch | ErrorKind::Cancelled)
        };
        if let Some(cause) = cause.filter(says_more) {
            return cause;
        }
    }
    match error.kind {
        ErrorKind::MalformedArchive
        | ErrorKind::HostileArchive
        | ErrorKind::TooLarge
        | ErrorKind::DigestMismatch
        | ErrorKind::NoSpace => error.context(&format!("cannot keep layer `{}@{}`", blob.repository, blob.digest)),
        _ => error,
    }
}
