//! Challenges, tokens and credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ctr_core::ErrorKind;
use ctr_core::registry::{Credentials, RegistryOptions};

use crate::server::{Reply, Seen, Server};
use crate::{options, registry};

/// A registry that wants the token `t<generation>` of the token service at `realm`.
fn guarded(realm: String, generation: &Arc<AtomicUsize>) -> Server {
    let generation = Arc::clone(generation);
    Server::start(move |seen, _| {
        let wanted = format!("Bearer t{}", generation.load(Ordering::SeqCst));
        if seen.header("authorization") == Some(wanted.as_str()) {
            return Reply::ok("{}");
        }
        let challenge = format!(
            r#"Bearer realm="{realm}/token?x=1",service="reg, one",scope="repository:a/b:pull",error="invalid_token""#
        );
        Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .header("WWW-Authenticate", "Negotiate")
            .header("WWW-Authenticate", challenge)
    })
}

/// A token service that gives out `t<generation>`.
fn service(generation: &Arc<AtomicUsize>, rest: &'static str) -> Server {
    let generation = Arc::clone(generation);
    Server::start(move |_, _| Reply::ok(format!(r#"{{"token":"t{}"{rest}}}"#, generation.load(Ordering::SeqCst))))
}

fn login(username: &str, password: &str) -> RegistryOptions {
    let (username, password) = (Some(username.to_owned()), Some(password.to_owned()));
    RegistryOptions { credentials: Credentials { username, password, identity_token: None }, ..options() }
}

fn authorizations(seen: &[Seen]) -> Vec<Option<String>> {
    seen.iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn an_anonymous_token_is_fetched_once() {
    let generation = Arc::default();
    let tokens = service(&generation, r#","expires_in":300"#);
    let server = guarded(tokens.url(), &generation);
    let client = registry(&server, &options());
    for _ in 0..3 {
        client.manifest("a/b", "1", &[]).unwrap();
    }
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?x=1&service=reg%2C%20one&scope=repository%3Aa%2Fb%3Apull");
    assert_eq!((asked[0].method.as_str(), asked[0].header("authorization")), ("GET", None));
    assert_eq!(server.seen().len(), 4);
    client.manifest("c", "1", &[]).unwrap();
    assert_eq!(tokens.seen().len(), 2, "another repository is another permission");
}

#[test]
fn a_password_goes_to_the_token_service_alone() {
    let generation = Arc::default();
    let tokens = service(&generation, "");
    let server = guarded(tokens.url(), &generation);
    registry(&server, &login("ann", "s3cret")).manifest("a/b", "1", &[]).unwrap();
    let asked = tokens.seen();
    assert_eq!(asked[0].header("authorization"), Some("Basic YW5uOnMzY3JldA=="));
    assert!(asked[0].target.ends_with("&account=ann"), "{}", asked[0].target);
    assert_eq!(authorizations(&server.seen()), [None, Some("Bearer t0".to_owned())]);
}

#[test]
fn a_refresh_token_is_posted() {
    let generation = Arc::default();
    let tokens = Server::start(|_, _| Reply::ok(r#"{"access_token":"t0","expires_in":60}"#));
    let server = guarded(tokens.url(), &generation);
    let credentials = Credentials { identity_token: Some("re fresh".to_owned()), ..Credentials::default() };
    registry(&server, &RegistryOptions { credentials, ..options() }).manifest("a/b", "1", &[]).unwrap();
    let asked = tokens.seen();
    assert_eq!((asked[0].method.as_str(), asked[0].header("authorization")), ("POST", None));
    assert_eq!(
        asked[0].body,
        "service=reg%2C%20one&grant_type=refresh_token&client_id=pyrust-ctr&refresh_token=re%20fresh\
         &scope=repository%3Aa%2Fb%3Apull"
    );
}

#[test]
fn old_tokens_are_replaced() {
    let generation = Arc::new(AtomicUsize::new(0));
    let tokens = service(&generation, r#","expires_in":3000"#);
    let server = guarded(tokens.url(), &generation);
    let client = registry(&server, &options());
    client.manifest("a/b", "1", &[]).unwrap();
    generation.fetch_add(1, Ordering::SeqCst);
    client.manifest("a/b", "1", &[]).unwrap();
    assert_eq!(tokens.seen().len(), 2);
    let given = authorizations(&server.seen());
    assert_eq!(given[2..], [Some("Bearer t0".to_owned()), Some("Bearer t1".to_owned())]);

    let short_lived = service(&generation, r#","expires_in":0"#);
    let server = guarded(short_lived.url(), &generation);
    let client = registry(&server, &options());
    client.manifest("a/b", "1", &[]).unwrap();
    client.manifest("a/b", "1", &[]).unwrap();
    assert_eq!(short_lived.seen().len(), 2);
    assert_eq!(authorizations(&server.seen())[2], None, "an expired token is not shown");
}

#[test]
fn a_registry_that_is_never_content() {
    let tokens = Server::start(|_, _| Reply::ok(r#"{"token":"t"}"#));
    let server = guarded(tokens.url(), &Arc::new(AtomicUsize::new(7)));
    let client = registry(&server, &login("ann", "s3cret"));
    let error = client.manifest("a/b", "1", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.message.contains("refused the credentials") && error.message.contains("`a/b:1`"), "{error}");
    assert_eq!((server.seen().len(), tokens.seen().len()), (2, 1));
    assert!(!format!("{error:?} {client:?} {:?}", login("ann", "s3cret")).contains("s3cret"));
}

type Case = (&'static str, fn() -> Reply, ErrorKind);

#[test]
fn token_services_that_misbehave() {
    let cases: [Case; 7] = [
        ("refused", || Reply::new(401, r#"{"details":"incorrect username or password"}"#), ErrorKind::Unauthorized),
        ("not JSON", || Reply::ok("<html>"), ErrorKind::RegistryError),
        ("no token", || Reply::ok("{}"), ErrorKind::RegistryError),
        ("a token that breaks the header", || Reply::ok(r#"{"token":"a\r\nX: y"}"#), ErrorKind::RegistryError),
        ("endless", || Reply::ok(vec![b' '; 1 << 20]), ErrorKind::RegistryError),
        ("in pieces", || Reply::new(500, r#"{"details":"db down"}"#), ErrorKind::RegistryError),
        ("elsewhere", || Reply::new(404, ""), ErrorKind::RegistryError),
    ];
    for (name, reply, kind) in cases {
        let tokens = Server::start(move |_, _| reply());
        let server = guarded(tokens.url(), &Arc::default());
        let error = registry(&server, &login("ann", "s3cret")).manifest("a/b", "1", &[]).unwrap_err();
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(!error.message.contains("s3cret") && error.message.contains(&server.host()), "{name}: {error}");
    }
}

#[test]
fn a_token_service_in_trouble_is_asked_again() {
    let tokens = Server::start(|_, number| match number {
        0 => Reply::new(503, "").header("Retry-After", "0"),
        _ => Reply::ok(r#"{"token":"t0"}"#),
    });
    let server = guarded(tokens.url(), &Arc::default());
    registry(&server, &options()).manifest("a/b", "1", &[]).unwrap();
}

#[test]
fn the_basic_scheme() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some("Basic YW5uOnMzY3JldA==") => Reply::ok("{}"),
        _ => Reply::new(401, "").header("WWW-Authenticate", r#"Basic realm="the, \"registry\"""#),
    });
    registry(&server, &login("ann", "s3cret")).ping().unwrap();
    let anonymous = registry(&server, &options()).ping().unwrap_err();
    assert_eq!(anonymous.kind, ErrorKind::Unauthorized);
    assert!(anonymous.message.contains(&format!("log in with `pctr login {}`", server.host())), "{anonymous}");
    let wrong = registry(&server, &login("ann", "wr0ng")).ping().unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Unauthorized);
    assert!(wrong.message.contains("refused the credentials") && !wrong.message.contains("wr0ng"), "{wrong}");
}
