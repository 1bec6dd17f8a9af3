//! One request to the registry, with the answer to its challenge.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue};

use super::address::Endpoint;
use super::auth::Authenticator;
use super::body::read_bounded;
use super::failure::{Failure, Subject};
use super::transport::{Answer, Call, Connections, TransportSettings};
use crate::progress::Progress;
use crate::{Error, ErrorKind};

/// How soon a request under way notices that its caller cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// One resource of the registry.
pub(super) struct Target {
    /// Beneath `/v2/`.
    pub(super) path: String,
    /// The permission needed, as token services know it.
    pub(super) scope: String,
    /// The thing, in backticks, for messages.
    pub(super) what: String,
    /// True when a 404 means that the image is not there.
    pub(super) names_image: bool,
}

impl Target {
    pub(super) fn new(repository: &str, path: &str, what: String, names_image: bool) -> Self {
        let path = format!("{repository}/{path}");
        Self { path, scope: format!("repository:{repository}:pull"), what, names_image }
    }
}

/// The registry and who we are to it.
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
    pub(super) authenticator: Authenticator,
    pub(super) settings: Arc<TransportSettings>,
}

impl Client {
    pub(super) fn subject<'a>(&'a self, target: &'a Target) -> Subject<'a> {
        Subject {
            endpoint: &self.endpoint,
            what: &target.what,
            names_image: target.names_image,
            is_anonymous: self.authenticator.is_anonymous(),
        }
    }

    /// An error about content: "`x` of registry `y` is too long".
    pub(super) fn error(&self, kind: ErrorKind, target: &Target, fault: &str) -> Error {
        Error::new(kind, format!("{} of registry `{}` {fault}", target.what, self.endpoint.origin))
    }

    /// Sends one request, answering the registry's challenge when it makes one. The answer may have any status.
    pub(super) fn request(
        &self,
        connections: &Connections,
        target: &Target,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Failure> {
        let subject = self.subject(target);
        let call = Call {
            address: self.endpoint.resource(&target.path)?,
            origin: self.endpoint.origin.clone(),
            headers: headers.to_vec(),
            authorization: self.authenticator.pass(&target.scope),
            form: None,
        };
        let answer = connections.send(call.clone()).map_err(|broken| broken.about(&subject))?;
        // A challenge counts from the registry alone: whoever it redirects to has no claim to our credentials.
        if answer.status != 401 || answer.origin != self.endpoint.origin {
            return Ok(answer);
        }
        if let Some(refused) = &call.authorization {
            self.authenticator.forget(&target.scope, refused);
        }
        let Some(pass) = self.authenticator.answer(connections, &subject, &answer.headers, &target.scope)? else {
            return Ok(answer);
        };
        // Read to its end, so that the connection can be used again.
        let _ = read_bounded(answer.body, 64 * 1024, self.settings.timeout);
        let second = Call { authorization: Some(pass.clone()), ..call };
        let answer = connections.send(second).map_err(|broken| broken.about(&subject))?;
        if answer.status == 401 && answer.origin == self.endpoint.origin {
            self.authenticator.forget(&target.scope, &pass);
        }
        Ok(answer)
    }

    /// The same, given up as soon as `progress` asks to stop: looking up a name and connecting cannot be interrupted, so
    /// they happen on a thread that is left to its time-out.
    pub(super) fn request_until_cancelled(
        self: &Arc<Self>,
        connections: &Arc<Connections>,
        target: &Arc<Target>,
        headers: Vec<(HeaderName, HeaderValue)>,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (client, connections, target) = (Arc::clone(self), Arc::clone(connections), Arc::clone(target));
        let work = move || {
            // Nobody listens any more after a cancellation.
            let _ = sender.send(client.request(&connections, &target, &headers));
        };
        std::thread::Builder::new().name("pull-request".to_owned()).spawn(work).map_err(|cause| {
            Error::new(ErrorKind::Io, format!("cannot start a thread for a request to a registry: {cause}"))
        })?;
        loop {
            match receiver.recv_timeout(CANCEL_POLL) {
                Ok(answer) => return answer,
                Err(mpsc::RecvTimeoutError::Timeout) => progress.check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let message = "the thread of a request to a registry ended without an answer";
                    return Err(Error::new(ErrorKind::Internal, message).into());
                }
            }
        }
    }
}
