//! Where redirects may lead, and what goes along.

use ctr_core::ErrorKind;
use ctr_core::registry::{Credentials, RegistryOptions};

use crate::server::{Reply, Server};
use crate::{digest_of, options, registry};

fn with_password() -> RegistryOptions {
    let credentials =
        Credentials { username: Some("ann".to_owned()), password: Some("s3cret".to_owned()), identity_token: None };
    RegistryOptions { credentials, ..options() }
}

const ANN: &str = "Basic YW5uOnMzY3JldA==";

#[test]
fn credentials_stay_with_their_host() {
    let store = Server::start(|_, _| Reply::ok("content"));
    let elsewhere = format!("{}/data?signature=1", store.url());
    let server = Server::start(move |seen, _| {
        if seen.header("authorization") != Some(ANN) {
            return Reply::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\"");
        }
        match seen.target.as_str() {
            "/here" => Reply::ok("content"),
            target if target.starts_with("/v2/near/") => Reply::new(302, "").header("Location", "/here"),
            _ => Reply::new(307, "moved").header("Location", elsewhere.clone()),
        }
    });
    let client = registry(&server, &with_password());
    assert_eq!(client.blob("near", &digest_of(b"content"), 7).unwrap(), b"content");
    assert_eq!(server.seen().last().unwrap().header("authorization"), Some(ANN));
    assert_eq!(client.blob("far", &digest_of(b"content"), 7).unwrap(), b"content");
    let seen = store.seen();
    assert_eq!(seen[0].target, "/data?signature=1");
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn another_host_cannot_ask_for_credentials() {
    let thief = Server::start(|seen, _| {
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        Reply::new(401, "").header("WWW-Authenticate", realm)
    });
    let location = thief.url();
    let server = Server::start(move |_, _| Reply::new(307, "").header("Location", location.clone()));
    let error = registry(&server, &with_password()).blob("x", &digest_of(b""), 0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryError);
    assert!(error.message.contains(&thief.host()) && error.message.contains(&server.host()), "{error}");
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(!error.message.contains("s3cret"));
}

#[test]
fn redirects_that_are_not_followed() {
    for location in ["file:///etc/passwd", "gopher://127.0.0.1/", "", "https://"] {
        let server = Server::start(move |_, _| Reply::new(302, "").header("Location", location));
        let error = registry(&server, &options()).manifest("x", "1", &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RegistryError, "{location}: {error}");
        assert_eq!(server.seen().len(), 1);
    }
    let nowhere = Server::start(|_, _| Reply::new(302, ""));
    assert_eq!(registry(&nowhere, &options()).ping().unwrap_err().kind, ErrorKind::RegistryError);
    let server = Server::start(|seen, _| Reply::new(301, "").header("Location", format!("{}x", seen.target)));
    let error = registry(&server, &options()).manifest("x", "1", &[]).unwrap_err();
    assert!(error.message.contains("again and again"), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn a_relative_redirect_with_a_few_hops() {
    let server = Server::start(|seen, _| match seen.target.as_str() {
        "/v2/x/manifests/1" => Reply::new(302, "").header("Location", "2"),
        "/v2/x/manifests/2" => Reply::new(303, "").header("Location", "//HOST/y").header("X", "y"),
        _ => Reply::ok("{}"),
    });
    let host = server.host();
    let relay = Server::start(move |_, _| Reply::new(308, "").header("Location", format!("//{host}/z#part")));
    assert_eq!(registry(&relay, &options()).manifest("x", "1", &[]).unwrap().body, b"{}");
    assert_eq!(server.seen()[0].target, "/z");
}
