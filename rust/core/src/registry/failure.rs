//! What went wrong, as one sentence that names the registry and the thing asked for, and whether asking again may help.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Body, Timeout};

use super::address::{Endpoint, Origin};
use super::body::read_bounded;
use crate::{Error, ErrorKind};

/// Whether, and how, the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would fail again.
    Never,
    /// The other side was silent for the whole time-out: patience was spent already.
    Silence,
    /// Nobody listens there: a restart takes moments, a wrong address for ever.
    Refused,
    /// The connection broke, or the server is in trouble: a little later.
    BackOff,
    /// The server said when.
    After(Duration),
}

/// An error, and whether asking again may help.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) retry: Retry,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Never }
    }
}

/// An exchange that gave no usable answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) origin: Origin,
    kind: ErrorKind,
    reason: String,
    retry: Retry,
}

impl Broken {
    pub(crate) fn nonsense(origin: &Origin, reason: &str) -> Self {
        Self { origin: origin.clone(), kind: ErrorKind::RegistryError, reason: reason.to_owned(), retry: Retry::Never }
    }

    pub(crate) fn cut(origin: &Origin) -> Self {
        let reason = "the operation was cancelled".to_owned();
        Self { origin: origin.clone(), kind: ErrorKind::Cancelled, reason, retry: Retry::Never }
    }

    /// Sorts what the HTTP library reports; `timeout` is the configured one.
    pub(crate) fn from_transport(origin: &Origin, cause: &ureq::Error, timeout: Duration) -> Self {
        use ErrorKind::{RegistryError, RegistryUnreachable};
        let (kind, reason, retry) = match cause {
            ureq::Error::HostNotFound => (RegistryUnreachable, "the host name has no address".to_owned(), Retry::Never),
            ureq::Error::Timeout(phase) => {
                let doing = match phase {
                    Timeout::Resolve => "looking up the host name",
                    Timeout::Connect => "connecting",
                    _ => "waiting for an answer",
                };
                let reason = format!("timed out after {} s while {doing}", timeout.as_secs_f64());
                (RegistryUnreachable, reason, Retry::Silence)
            }
            ureq::Error::Io(cause) => from_io(cause),
            ureq::Error::Rustls(cause) => (RegistryUnreachable, tls_reason(&cause.to_string()), Retry::Never),
            ureq::Error::Tls(reason) => (RegistryUnreachable, tls_reason(reason), Retry::Never),
            ureq::Error::ConnectProxyFailed(reason) => {
                (RegistryUnreachable, format!("the proxy refused: {}", printable(reason, 200)), Retry::Never)
            }
            ureq::Error::ConnectionFailed => (RegistryUnreachable, "the connection failed".to_owned(), Retry::BackOff),
            ureq::Error::Protocol(cause) => {
                let reason = format!("it does not speak HTTP properly ({})", printable(&cause.to_string(), 200));
                (RegistryError, reason, Retry::Never)
            }
            other => (RegistryError, printable(&other.to_string(), 200), Retry::Never),
        };
        Self { origin: origin.clone(), kind, reason, retry }
    }

    /// The failure for `subject`.
    pub(crate) fn about(self, subject: &Subject<'_>) -> Failure {
        let Self { origin, kind, reason, retry } = self;
        let who = subject.names(&origin);
        let message = match kind {
            ErrorKind::Cancelled => reason,
            ErrorKind::RegistryUnreachable => format!("cannot reach {who} for {}: {reason}", subject.what),
            _ => format!("{who} gave no usable answer for {}: {reason}", subject.what),
        };
        Failure { error: Error::new(kind, message), retry }
    }
}

fn from_io(cause: &io::Error) -> (ErrorKind, String, Retry) {
    let kind = ErrorKind::RegistryUnreachable;
    let text = cause.to_string();
    if text.starts_with("failed to lookup address information") {
        return (kind, "the host name has no address".to_owned(), Retry::Never);
    }
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => (kind, "connection refused".to_owned(), Retry::Refused),
        io::ErrorKind::InvalidData => (kind, tls_reason(&text), Retry::Never),
        io::ErrorKind::UnexpectedEof => (kind, "it closed the connection early".to_owned(), Retry::BackOff),
        io::ErrorKind::TimedOut => (kind, "the connection timed out".to_owned(), Retry::Silence),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            (kind, printable(&text, 200), Retry::Never)
        }
        _ => (kind, printable(&text, 200), Retry::BackOff),
    }
}

fn tls_reason(text: &str) -> String {
    if text.contains("InvalidContentType") {
        return "it does not speak TLS, it may be a plain http registry".to_owned();
    }
    format!("TLS failed: {}", printable(text, 200))
}

/// What a request is about, for messages.
pub(crate) struct Subject<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// The thing asked for, in backticks.
    pub(crate) what: &'a str,
    /// True when a 404 means that the image is not there.
    pub(crate) names_image: bool,
    /// True when there are no credentials to show.
    pub(crate) is_anonymous: bool,
}

impl Subject<'_> {
    /// How `origin` is called: the registry, or the place that it sent us to.
    fn names(&self, origin: &Origin) -> String {
        if *origin == self.endpoint.origin {
            return format!("registry `{origin}`");
        }
        format!("`{origin}`, where registry `{}` sends us,", self.endpoint.origin)
    }

    /// The registry wants credentials, or other ones; `detail` is empty or begins with a colon.
    pub(crate) fn unauthorized(&self, detail: &str) -> Error {
        let registry = &self.endpoint.origin;
        let login = self.endpoint.login_name();
        let what = self.what;
        let message = if self.is_anonymous {
            format!("registry `{registry}` wants credentials for {what}, log in with `pctr login {login}`{detail}")
        } else {
            format!(
                "registry `{registry}` refused the credentials for {what}, log in again with `pctr login {login}`{detail}"
            )
        };
        Error::new(ErrorKind::Unauthorized, message)
    }

    /// Reads the rest of a refusal and makes the failure of it.
    pub(crate) fn refusal(&self, origin: &Origin, status: u16, headers: &HeaderMap, body: Body) -> Failure {
        let said = what_was_said(body);
        let who = self.names(origin);
        let is_registry = *origin == self.endpoint.origin;
        let detail = said.as_ref().map(|said| format!(": {}", said.text)).unwrap_or_default();
        let has_code = |code: &str| said.as_ref().is_some_and(|said| said.code == code);
        let login = self.endpoint.login_name();
        if status == 401 && is_registry {
            return self.unauthorized(&detail).into();
        }
        let (kind, message, retry) = match status {
            403 if is_registry => (
                ErrorKind::Unauthorized,
                format!(
                    "{who} refuses {}: it does not exist or other credentials are needed, log in with `pctr login \
                     {login}`{detail}",
                    self.what
                ),
                Retry::Never,
            ),
            404 if is_registry && has_code("NAME_UNKNOWN") && self.names_image => (
                ErrorKind::ManifestUnknown,
                format!("{who} does not have {}: it does not know the repository", self.what),
                Retry::Never,
            ),
            404 if is_registry && self.names_image => {
                (ErrorKind::ManifestUnknown, format!("{who} does not have {}", self.what), Retry::Never)
            }
            404 => (ErrorKind::RegistryError, format!("{who} does not have {}{detail}", self.what), Retry::Never),
            _ => {
                let name = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                let retry = match status {
                    429 | 503 => retry_after(headers).map_or(Retry::BackOff, Retry::After),
                    500..=599 | 408 => Retry::BackOff,
                    _ => Retry::Never,
                };
                (ErrorKind::RegistryError, format!("{who} answered {status}{name} for {}{detail}", self.what), retry)
            }
        };
        Failure { error: Error::new(kind, message), retry }
    }
}

/// The longest that a server may ask us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// `Retry-After` in seconds (dates are not read: clocks differ), at most 30.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

struct Said {
    code: String,
    text: String,
}

#[derive(Deserialize)]
struct ErrorDocument {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    /// Token services say it so.
    details: Option<String>,
    message: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The server's own words: the first error of its JSON document (distribution specification, "Error Codes").
fn what_was_said(body: Body) -> Option<Said> {
    let bytes = read_bounded(body, 64 * 1024, Duration::from_secs(5)).ok()?;
    let document: ErrorDocument = serde_json::from_slice(&bytes).ok()?;
    let entry = document.errors.into_iter().next();
    let code = entry.as_ref().map(|entry| entry.code.clone()).unwrap_or_default();
    let words = entry
        .map(|entry| if entry.message.is_empty() { entry.code } else { entry.message })
        .or(document.details)
        .or(document.error_description)
        .or(document.message)?;
    let text = printable(&words, 300);
    (!text.is_empty()).then_some(Said { code, text })
}

/// `text` on one line, without control and direction characters, at most `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let is_unwanted = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let spaced: String = text.chars().map(|letter| if is_unwanted(letter) { ' ' } else { letter }).collect();
    let joined = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = joined.chars();
    let mut kept: String = letters.by_ref().take(limit).collect();
    if letters.next().is_some() {
        kept.push('…');
    }
    kept.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_tamed() {
        assert_eq!(printable("a\x1b[31m\nb\u{202e}c. ", 50), "a [31m b c");
        assert_eq!(printable(&"x".repeat(500), 3), "xxx…");
    }

    #[test]
    fn retry_after_is_bounded() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "2".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(2)));
        headers.insert(RETRY_AFTER, "99999999".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(MAX_RETRY_AFTER));
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None);
    }
}
