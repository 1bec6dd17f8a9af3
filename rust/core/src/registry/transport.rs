//! One request and its answer: connections, certificates, proxies, time-outs, redirects.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::address::{Origin, follow};
use super::failure::Broken;
use crate::{Error, ErrorKind, Result};

/// Redirects of one request before we stop.
const MAX_REDIRECTS: usize = 5;
/// Status line and headers of one answer, bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// How connections of one registry are made.
pub(crate) struct TransportSettings {
    /// Bounds connecting and every silence.
    pub(crate) timeout: Duration,
    /// The host whose certificate is not checked.
    unchecked_host: Option<String>,
    extra_roots: Vec<Certificate<'static>>,
    roots: OnceLock<RootCerts>,
}

impl TransportSettings {
    /// Reads the certificates of `ca_file` (PEM), which are trusted in addition to the system's.
    pub(crate) fn new(timeout: Duration, unchecked_host: Option<String>, ca_file: Option<&Path>) -> Result<Self> {
        let extra_roots = ca_file.map(read_certificates).transpose()?.unwrap_or_default();
        Ok(Self { timeout, unchecked_host, extra_roots, roots: OnceLock::new() })
    }

    fn tls(&self, is_checked: bool) -> TlsConfig {
        if !is_checked {
            return TlsConfig::builder().disable_verification(true).build();
        }
        let roots = self.roots.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            let mut all: Vec<_> =
                found.certs.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect();
            let is_chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
            if all.is_empty() && self.extra_roots.is_empty() && !is_chosen {
                // A machine without certificates of its own: the public ones that come with the program.
                return RootCerts::WebPki;
            }
            all.extend(self.extra_roots.iter().cloned());
            RootCerts::from(all)
        });
        TlsConfig::builder().root_certs(roots.clone()).build()
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).map_err(|cause| Error::io("read the certificate file", path, cause))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => {
                certificates.clear();
                break;
            }
        }
    }
    if certificates.is_empty() {
        let message = format!("`{}` does not hold certificates in PEM form", path.display());
        return Err(Error { path: Some(path.to_path_buf()), ..Error::new(ErrorKind::InvalidArgument, message) });
    }
    Ok(certificates)
}

/// A request; its address says where it begins.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) address: Uri,
    /// The address's own.
    pub(crate) origin: Origin,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent to the address's own origin only.
    pub(crate) authorization: Option<HeaderValue>,
    /// A form to post; without one the request is a GET.
    pub(crate) form: Option<String>,
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, after redirects.
    pub(crate) origin: Origin,
}

/// What separates connections that may not be shared.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// None for plain connections.
    checks_certificate: Option<bool>,
    uses_proxy: bool,
}

/// Connections that are used together and can be cut together.
pub(crate) struct Connections {
    settings: Arc<TransportSettings>,
    agents: Mutex<Vec<(Kind, Agent)>>,
    is_cut: AtomicBool,
}

impl Connections {
    pub(crate) fn new(settings: Arc<TransportSettings>) -> Self {
        Self { settings, agents: Mutex::new(Vec::new()), is_cut: AtomicBool::new(false) }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Ends everything that is under way, from another thread; later requests fail.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for (_, agent) in self.agents.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            agent.clone().shutdown();
        }
    }

    /// Sends the request and follows redirects by hand: never to another scheme than http and https, never from https
    /// to http, at most five times, and with the credentials only as long as scheme, host and port stay the same.
    pub(crate) fn send(&self, mut call: Call) -> std::result::Result<Answer, Broken> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&call)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let (parts, body) = response.into_parts();
                return Ok(Answer { status, headers: parts.headers, body, origin: call.origin });
            }
            let refuse = |why: &str| Broken::nonsense(&call.origin, why);
            if call.form.is_some() {
                return Err(refuse("it redirects a request for a token"));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location
                .and_then(|location| follow(&call.address, location))
                .ok_or_else(|| refuse("it redirects to an address that is neither http nor https"))?;
            let next_origin = Origin::of(&next).ok_or_else(|| refuse("it redirects to nowhere"))?;
            if call.origin.is_https() && !next_origin.is_https() {
                return Err(refuse("it redirects from https to plain http"));
            }
            if next_origin != call.origin {
                call.authorization = None;
            }
            call.address = next;
            call.origin = next_origin;
        }
        Err(Broken::nonsense(&call.origin, "it redirects again and again"))
    }

    fn exchange(&self, call: &Call) -> std::result::Result<ureq::http::Response<Body>, Broken> {
        let agent = self.agent(&call.origin);
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(Broken::cut(&call.origin));
        }
        let mut builder = Request::builder().uri(call.address.clone());
        for (name, value) in &call.headers {
            builder = builder.header(name, value);
        }
        if let Some(value) = &call.authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        let sent = match &call.form {
            Some(form) => builder
                .method("POST")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.clone())
                .map_err(ureq::Error::from)
                .and_then(|request| agent.run(request)),
            None => builder.method("GET").body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
        };
        sent.map_err(|cause| Broken::from_transport(&call.origin, &cause, self.settings.timeout))
    }

    fn agent(&self, origin: &Origin) -> Agent {
        let kind = Kind {
            checks_certificate: origin
                .is_https()
                .then(|| self.settings.unchecked_host.as_deref() != Some(origin.host())),
            uses_proxy: !origin.is_loopback(),
        };
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = agents.iter().find(|(known, _)| *known == kind) {
            return agent.clone();
        }
        let silence = Some(self.settings.timeout);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(MAX_HEADER_BYTES)
            .user_agent(concat!("pyrust-ctr/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(silence)
            .timeout_connect(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .timeout_recv_response(silence.map(|silence| silence * 4));
        if !kind.uses_proxy {
            config = config.proxy(None);
        }
        if let Some(is_checked) = kind.checks_certificate {
            config = config.tls_config(self.settings.tls(is_checked));
        }
        let agent = config.build().new_agent();
        agents.push((kind, agent.clone()));
        agent
    }
}

/// Sets of connections that nobody uses just now, with their sockets kept open.
#[derive(Default)]
pub(crate) struct IdleConnections(Mutex<Vec<Arc<Connections>>>);

/// Idle sets worth keeping; more layers than these are not fetched at once in practice.
const MAX_IDLE: usize = 8;

impl IdleConnections {
    pub(crate) fn take(&self, settings: &Arc<TransportSettings>) -> Arc<Connections> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Arc::new(Connections::new(Arc::clone(settings))))
    }

    pub(crate) fn give_back(&self, connections: &Arc<Connections>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connections.is_cut.load(Ordering::SeqCst) {
            idle.push(Arc::clone(connections));
        }
    }
}
