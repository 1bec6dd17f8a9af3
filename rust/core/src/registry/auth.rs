//! Credentials, and the dance for a token: the registry's challenge names a token service, which gives a short-lived
//! token for credentials (or for nothing, anonymously).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::header::WWW_AUTHENTICATE;
use ureq::http::{HeaderMap, HeaderValue, Uri};

use super::address::{Origin, percent_encode};
use super::body::read_bounded;
use super::challenge::{self, Challenge};
use super::failure::{Broken, Failure, Retry, Subject};
use super::transport::{Answer, Call, Connections};
use crate::{Error, ErrorKind, Result};

/// Longest answer of a token service, bytes.
const MAX_TOKEN_DOCUMENT: u64 = 256 * 1024;
/// What a token without a stated life lives (distribution specification, "Token Authentication").
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Who we are to the registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user's name; together with `password`.
    pub username: Option<String>,
    /// The password or an access token in its place.
    pub password: Option<String>,
    /// A refresh token, which stands for both.
    pub identity_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// True when there is nothing to show.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.identity_token.is_none() && self.basic().is_none()
    }

    /// The `Authorization` value of the basic scheme (RFC 7617).
    fn basic(&self) -> Option<HeaderValue> {
        let username = self.username.as_deref().filter(|name| !name.is_empty())?;
        let pair = format!("{username}:{}", self.password.as_deref().unwrap_or_default());
        sensitive(&format!("Basic {}", STANDARD.encode(pair)))
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

struct Pass {
    authorization: HeaderValue,
    expires: Option<Instant>,
}

/// Knows the credentials, and the tokens that they were good for so far.
pub(crate) struct Authenticator {
    credentials: Credentials,
    passes: Mutex<HashMap<String, Pass>>,
}

#[derive(Deserialize)]
struct TokenDocument {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials) -> Result<Self> {
        if credentials.username.as_deref().is_some_and(|name| name.contains(':')) {
            return Err(Error::new(ErrorKind::InvalidArgument, "a user name for a registry cannot hold a colon"));
        }
        Ok(Self { credentials, passes: Mutex::new(HashMap::new()) })
    }

    /// True when we come without credentials.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.credentials.is_anonymous()
    }

    /// The `Authorization` value that is still good for `scope`.
    pub(crate) fn pass(&self, scope: &str) -> Option<HeaderValue> {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.get(scope)?.expires.is_some_and(|expires| Instant::now() >= expires) {
            passes.remove(scope);
        }
        passes.get(scope).map(|pass| pass.authorization.clone())
    }

    /// Forgets a value that was refused, unless another thread replaced it meanwhile.
    pub(crate) fn forget(&self, scope: &str, refused: &HeaderValue) {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.get(scope).is_some_and(|pass| pass.authorization == *refused) {
            passes.remove(scope);
        }
    }

    /// Answers the challenge in `headers`, which came from the registry itself; None when there is nothing to answer
    /// with.
    pub(crate) fn answer(
        &self,
        connections: &Connections,
        subject: &Subject<'_>,
        headers: &HeaderMap,
        scope: &str,
    ) -> std::result::Result<Option<HeaderValue>, Failure> {
        let values = headers.get_all(WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> =
            values.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        let offer = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let pass = if let Some(bearer) = offer("bearer") {
            self.fetch_token(connections, subject, bearer, scope)?
        } else if offer("basic").is_some() {
            let Some(authorization) = self.credentials.basic() else { return Ok(None) };
            Pass { authorization, expires: None }
        } else {
            return Ok(None);
        };
        let authorization = pass.authorization.clone();
        self.passes.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), pass);
        Ok(Some(authorization))
    }

    fn fetch_token(
        &self,
        connections: &Connections,
        subject: &Subject<'_>,
        bearer: &Challenge,
        scope: &str,
    ) -> std::result::Result<Pass, Failure> {
        let call = self.token_call(subject, bearer, scope)?;
        let service = call.origin.clone();
        let failed = |broken: Broken| broken.about(&token_subject(subject));
        let answer = connections.send(call).map_err(failed)?;
        if answer.status != 200 {
            return Err(self.token_refusal(subject, &service, answer));
        }
        let origin = answer.origin.clone();
        let body = read_bounded(answer.body, MAX_TOKEN_DOCUMENT, connections.timeout() * 4)
            .map_err(|cause| failed(Broken::from_transport(&origin, &cause.into(), connections.timeout())))?;
        let nonsense = || failed(Broken::nonsense(&origin, "it did not send a token"));
        if body.len() as u64 > MAX_TOKEN_DOCUMENT {
            return Err(nonsense());
        }
        let document: TokenDocument = serde_json::from_slice(&body).map_err(|_| nonsense())?;
        let token = document.token.filter(|token| !token.is_empty()).or(document.access_token);
        let authorization = token
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .and_then(|token| sensitive(&format!("Bearer {token}")))
            .ok_or_else(nonsense)?;
        let life = document.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
        // A tenth is kept back for the way and for clocks that run apart.
        Ok(Pass { authorization, expires: Some(Instant::now() + life * 9 / 10) })
    }

    /// The request for a token: a refresh token is posted, anything else is asked for by GET.
    fn token_call(&self, subject: &Subject<'_>, bearer: &Challenge, scope: &str) -> Result<Call> {
        let registry = &subject.endpoint.origin;
        let refuse = |why: &str| {
            let message = format!("registry `{registry}` names a token service {why}, needed for {}", subject.what);
            Error::new(ErrorKind::RegistryError, message)
        };
        let realm = bearer.parameter("realm").ok_or_else(|| refuse("without an address"))?;
        let realm = realm.split('#').next().unwrap_or_default();
        let address: Uri = realm.parse().map_err(|_| refuse("with an address that cannot be understood"))?;
        let origin = Origin::of(&address).ok_or_else(|| refuse("with an address that is not http or https"))?;
        if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(refuse("with credentials in its address"));
        }
        if registry.is_https() && !origin.is_https() {
            return Err(refuse("that is plain http, where credentials would be readable"));
        }
        let scopes = bearer.parameter("scope").filter(|scope| !scope.is_empty()).unwrap_or(scope);
        let mut fields: Vec<(&str, &str)> = Vec::new();
        if let Some(service) = bearer.parameter("service") {
            fields.push(("service", service));
        }
        if let Some(token) = self.credentials.identity_token.as_deref() {
            fields.extend([("grant_type", "refresh_token"), ("client_id", "pyrust-ctr"), ("refresh_token", token)]);
            if !scopes.is_empty() {
                fields.push(("scope", scopes));
            }
            return Ok(Call { address, origin, headers: Vec::new(), authorization: None, form: Some(encode(&fields)) });
        }
        fields.extend(scopes.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
        if let Some(username) = self.credentials.username.as_deref() {
            fields.push(("account", username));
        }
        let join = if address.query().is_some() { '&' } else { '?' };
        let address = format!("{}{join}{}", realm.trim_end_matches(['?', '&']), encode(&fields))
            .parse()
            .map_err(|_| refuse("with an address that cannot be understood"))?;
        Ok(Call { address, origin, headers: Vec::new(), authorization: self.credentials.basic(), form: None })
    }

    fn token_refusal(&self, subject: &Subject<'_>, service: &Origin, answer: Answer) -> Failure {
        // Refresh tokens are refused with 400 `invalid_grant` (RFC 6749, section 5.2).
        let is_refused =
            matches!(answer.status, 401 | 403) || answer.status == 400 && self.credentials.identity_token.is_some();
        if is_refused && *service == answer.origin {
            return Failure { error: subject.unauthorized(""), retry: Retry::Never };
        }
        let subject = token_subject(subject);
        subject.refusal(&answer.origin, answer.status, &answer.headers, answer.body)
    }
}

/// The same subject, of which only the token is missing: a 404 of the service does not speak of the image.
fn token_subject<'a>(subject: &Subject<'a>) -> Subject<'a> {
    Subject { names_image: false, ..*subject }
}

fn encode(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::address::Endpoint;

    fn call(registry: &str, realm: &str) -> Result<Call> {
        let endpoint = Endpoint::parse(registry)?;
        let subject = Subject { endpoint: &endpoint, what: "`x:1`", names_image: true, is_anonymous: false };
        let credentials =
            Credentials { username: Some("ann".to_owned()), password: Some("s3cret".to_owned()), identity_token: None };
        let bearer = challenge::parse(&format!("Bearer realm=\"{realm}\",service=s")).remove(0);
        Authenticator::new(credentials)?.token_call(&subject, &bearer, "repository:x:pull")
    }

    #[test]
    fn credentials_are_not_sent_in_the_open() {
        for realm in ["http://auth.example/t", "ftp://auth.example", "/t", "", "https://u:p@auth.example", "https:// /"]
        {
            let error = call("https://registry.example", realm).err().unwrap();
            assert_eq!(error.kind, ErrorKind::RegistryError, "{realm}");
            assert!(error.message.contains("registry.example") && !error.message.contains("s3cret"), "{error}");
        }
        let accepted = call("https://registry.example", "https://auth.example/t#x").unwrap();
        assert_eq!(accepted.address, "https://auth.example/t?service=s&scope=repository%3Ax%3Apull&account=ann");
        assert!(accepted.authorization.unwrap().is_sensitive());
        assert!(call("http://localhost:5000", "http://auth.example").is_ok());
    }

    #[test]
    fn passes_end() {
        let authenticator = Authenticator::new(Credentials::default()).unwrap();
        let authorization = HeaderValue::from_static("Bearer x");
        let later = Instant::now() + Duration::from_secs(60);
        for (scope, expires) in [("over", Some(Instant::now())), ("good", Some(later)), ("basic", None)] {
            let pass = Pass { authorization: authorization.clone(), expires };
            authenticator.passes.lock().unwrap().insert(scope.to_owned(), pass);
        }
        assert_eq!(authenticator.pass("over"), None);
        assert!(authenticator.pass("good").is_some() && authenticator.pass("basic").is_some());
        authenticator.forget("good", &HeaderValue::from_static("Bearer other"));
        assert!(authenticator.pass("good").is_some());
        authenticator.forget("good", &authorization);
        assert!(authenticator.pass("good").is_none());
    }

    #[test]
    fn a_colon_would_move_the_password() {
        let credentials = Credentials { username: Some("a:b".to_owned()), ..Credentials::default() };
        assert_eq!(Authenticator::new(credentials).err().unwrap().kind, ErrorKind::InvalidArgument);
    }
}
