//! Transport to registries that speak the OCI distribution API (version 1.1, and Docker's version 2 before it).
//!
//! One [`Registry`] is one endpoint. It knows no policy: which endpoint serves a name, which credentials are shown and
//! whether plain http is allowed is decided by the caller. Everything that a registry says is taken as a claim: sizes
//! and digests are checked, lengths are bounded, its words are cleaned before they reach a message.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::header::{ACCEPT, CONTENT_TYPE};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Error, ErrorKind, Result};

mod address;
mod auth;
mod body;
mod challenge;
mod client;
mod digest;
mod failure;
mod pull;
mod retry;
mod stream;
mod transport;

pub use auth::Credentials;
pub use pull::LayerBlob;
pub use stream::LayerStream;

use address::{Endpoint, check_repository, check_tag};
use auth::Authenticator;
use body::read_bounded;
use client::{Client, Target};
use digest::Digest;
use failure::{Broken, Failure};
use retry::Attempts;
use transport::{Connections, IdleConnections, TransportSettings};

/// Longest manifest, bytes (the limit that registries are asked to accept).
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
/// Longest blob that is read into memory, bytes.
const MAX_BLOB_BYTES: u64 = 8 * 1024 * 1024;

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Who we are; nobody by default.
    pub credentials: Credentials,
    /// Do not check the certificates of the registry's own host.
    pub insecure: bool,
    /// Certificates (PEM) that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Bounds connecting and every silence of the other side, not a whole transfer.
    pub timeout: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { credentials: Credentials::default(), insecure: false, ca_file: None, timeout: Duration::from_secs(30) }
    }
}

/// A manifest as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryResponse {
    /// The bytes that the digest is of.
    pub body: Vec<u8>,
    /// The `Content-Type` without parameters; empty when there was none.
    pub media_type: String,
    /// The `Docker-Content-Digest` header; it is the body's.
    pub digest: Option<String>,
}

/// One registry endpoint; shared by any number of threads.
pub struct Registry {
    client: Arc<Client>,
    /// For small documents.
    connections: Connections,
    /// For layers, which can be cut each on its own.
    idle: IdleConnections,
}

impl Registry {
    /// `base_url` has scheme and host: `https://registry-1.docker.io`. Nothing is sent yet.
    ///
    /// Kinds: `InvalidArgument`; those of reading `ca_file`.
    pub fn new(base_url: &str, options: &RegistryOptions) -> Result<Self> {
        let endpoint = Endpoint::parse(base_url)?;
        if options.timeout.is_zero() || options.timeout > Duration::from_secs(24 * 3600) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the time-out of a registry has to be within a day"));
        }
        let unchecked_host = options.insecure.then(|| endpoint.origin.host().to_owned());
        let settings = Arc::new(TransportSettings::new(options.timeout, unchecked_host, options.ca_file.as_deref())?);
        let connections = Connections::new(Arc::clone(&settings));
        let authenticator = Authenticator::new(options.credentials.clone())?;
        let client = Arc::new(Client { endpoint, authenticator, settings });
        Ok(Self { client, connections, idle: IdleConnections::default() })
    }

    /// Asks whether the registry speaks the API and accepts the credentials.
    ///
    /// Kinds: `Unauthorized`, `RegistryUnreachable`, `RegistryError`.
    pub fn ping(&self) -> Result<()> {
        let what = "the API version check".to_owned();
        let target = Target { path: String::new(), scope: String::new(), what, names_image: false };
        self.document(&target, &[], MAX_BLOB_BYTES).map(drop)
    }

    /// A manifest by tag or digest, at most 4 MiB; `accept` lists media types.
    ///
    /// Kinds: `ManifestUnknown`, `TooLarge`, `DigestMismatch` (the body is not what the reference or the registry's own
    /// header says), `Unauthorized`, `RegistryUnreachable`, `RegistryError`, `InvalidArgument`.
    pub fn manifest(&self, repository: &str, reference: &str, accept: &[String]) -> Result<RegistryResponse> {
        check_repository(repository)?;
        let expected = if reference.contains(':') {
            Some(Digest::parse(reference)?)
        } else {
            check_tag(reference)?;
            None
        };
        let separator = if expected.is_some() { '@' } else { ':' };
        let what = format!("`{repository}{separator}{reference}`");
        let target = Target::new(repository, &format!("manifests/{reference}"), what, true);
        let accept = HeaderValue::from_str(&accept.join(", ")).map_err(|_| {
            Error::new(ErrorKind::InvalidArgument, "a media type to accept holds a forbidden character")
        })?;
        let (headers, body) = self.document(&target, &[(ACCEPT, accept)], MAX_MANIFEST_BYTES)?;
        if body.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(self.client.error(ErrorKind::TooLarge, &target, "is longer than 4 MiB"));
        }
        if let Some(expected) = &expected {
            let actual = expected.of_same_algorithm(&body);
            if actual != *expected {
                return Err(self.client.error(
                    ErrorKind::DigestMismatch,
                    &target,
                    &format!("came with the digest `{actual}`"),
                ));
            }
        }
        let digest = self.announced_digest(&target, &headers, &body)?;
        let media_type = self.media_type(&target, &headers)?;
        Ok(RegistryResponse { body, media_type, digest })
    }

    /// A small blob (a config, at most 8 MiB), checked for size and digest.
    ///
    /// Kinds: `SizeMismatch`, `DigestMismatch`, `TooLarge`, `Unauthorized`, `RegistryUnreachable`, `RegistryError`.
    pub fn blob(&self, repository: &str, digest: &str, size: u64) -> Result<Vec<u8>> {
        let (digest, target) = Self::blob_target(repository, digest)?;
        if size > MAX_BLOB_BYTES {
            return Err(self.client.error(ErrorKind::TooLarge, &target, "is longer than 8 MiB"));
        }
        let (_, body) = self.document(&target, &[], size)?;
        if body.len() as u64 != size {
            let longer = if body.len() as u64 > size { "longer" } else { "shorter" };
            let fault = format!("is {longer} than the {size} bytes that its manifest says");
            return Err(self.client.error(ErrorKind::SizeMismatch, &target, &fault));
        }
        let actual = digest.of_same_algorithm(&body);
        if actual != digest {
            return Err(self.client.error(
                ErrorKind::DigestMismatch,
                &target,
                &format!("came with the digest `{actual}`"),
            ));
        }
        Ok(body)
    }

    fn blob_target(repository: &str, digest: &str) -> Result<(Digest, Target)> {
        check_repository(repository)?;
        let digest = Digest::parse(digest)?;
        let what = format!("`{repository}@{digest}`");
        let target = Target::new(repository, &format!("blobs/{digest}"), what, false);
        Ok((digest, target))
    }

    /// A whole document, at most `limit` bytes and one more.
    fn document(
        &self,
        target: &Target,
        headers: &[(HeaderName, HeaderValue)],
        limit: u64,
    ) -> Result<(HeaderMap, Vec<u8>)> {
        let mut attempts = Attempts::default();
        loop {
            match self.document_once(target, headers, limit) {
                Ok(found) => return Ok(found),
                Err(failure) => attempts.wait_after(failure, None)?,
            }
        }
    }

    fn document_once(
        &self,
        target: &Target,
        headers: &[(HeaderName, HeaderValue)],
        limit: u64,
    ) -> std::result::Result<(HeaderMap, Vec<u8>), Failure> {
        let answer = self.client.request(&self.connections, target, headers)?;
        let subject = self.client.subject(target);
        if answer.status != 200 {
            return Err(subject.refusal(&answer.origin, answer.status, &answer.headers, answer.body));
        }
        let timeout = self.client.settings.timeout;
        let body = read_bounded(answer.body, limit, timeout * 4)
            .map_err(|cause| Broken::from_transport(&answer.origin, &cause.into(), timeout).about(&subject))?;
        Ok((answer.headers, body))
    }

    /// The `Docker-Content-Digest` header, which has to be the body's.
    fn announced_digest(&self, target: &Target, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>> {
        let mut announced = None;
        for value in headers.get_all("docker-content-digest") {
            let digest = value.to_str().ok().and_then(|text| Digest::parse(text.trim()).ok()).ok_or_else(|| {
                self.client.error(
                    ErrorKind::RegistryError,
                    target,
                    "came with a `Docker-Content-Digest` that is no digest",
                )
            })?;
            let actual = digest.of_same_algorithm(body);
            if actual != digest {
                let fault = format!("was announced with the digest `{digest}` and came with `{actual}`");
                return Err(self.client.error(ErrorKind::DigestMismatch, target, &fault));
            }
            announced = Some(digest.as_str().to_owned());
        }
        Ok(announced)
    }

    /// The `Content-Type`; several that differ could mean two things, so they mean nothing.
    fn media_type(&self, target: &Target, headers: &HeaderMap) -> Result<String> {
        let mut found: Option<String> = None;
        for value in headers.get_all(CONTENT_TYPE) {
            let text = value.to_str().unwrap_or_default();
            let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if found.as_ref().is_some_and(|earlier| *earlier != bare) {
                return Err(self.client.error(ErrorKind::RegistryError, target, "came with two media types"));
            }
            found = Some(bare);
        }
        Ok(found.unwrap_or_default())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Registry({})", self.client.endpoint.origin)
    }
}
