//! Manifests, small blobs and the version check.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use ctr_core::ErrorKind;
use ctr_core::registry::Registry;

use crate::server::{Reply, Server};
use crate::{digest_of, impatient, noise, options, registry};

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn fails(reply: impl Fn() -> Reply + Send + Sync + 'static, kind: ErrorKind, words: &[&str]) {
    let server = Server::start(move |_, _| reply());
    let error = registry(&server, &options()).manifest("library/x", "1", &[OCI.to_owned()]).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    for word in words.iter().copied().chain([server.host().as_str(), "`library/x:1`"]) {
        assert!(error.message.contains(word), "{word:?} is not in {:?}", error.message);
    }
    assert!(!error.message.ends_with('.') && !error.message.contains(char::is_control), "{:?}", error.message);
}

#[test]
fn a_manifest_by_tag() {
    let server = Server::start(|_, _| {
        let reply = Reply::ok(MANIFEST).header("Content-Type", format!("{OCI}; charset=utf-8"));
        reply.header("Docker-Content-Digest", digest_of(MANIFEST))
    });
    let accept = [OCI.to_owned(), "application/json".to_owned()];
    let found = registry(&server, &options()).manifest("library/x", "1.36", &accept).unwrap();
    assert_eq!(found.body, MANIFEST);
    assert_eq!(found.media_type, OCI);
    assert_eq!(found.digest, Some(digest_of(MANIFEST)));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/v2/library/x/manifests/1.36"));
    assert_eq!(seen[0].header("accept"), Some(format!("{OCI}, application/json").as_str()));
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn a_manifest_by_digest_is_that_manifest() {
    let server = Server::start(|_, _| Reply::ok(MANIFEST));
    let client = registry(&server, &options());
    let found = client.manifest("x", &digest_of(MANIFEST), &[]).unwrap();
    assert_eq!((found.body.as_slice(), found.digest), (MANIFEST, None));
    let error = client.manifest("x", &digest_of(b"another"), &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::DigestMismatch);
    assert!(error.message.contains(&digest_of(MANIFEST)), "{error}");
}

#[test]
fn a_header_that_contradicts_the_body() {
    let announced = |digest: String| move || Reply::ok(MANIFEST).header("Docker-Content-Digest", digest.clone());
    fails(announced(digest_of(b"another")), ErrorKind::DigestMismatch, &["announced"]);
    fails(announced("sha256:short".to_owned()), ErrorKind::RegistryError, &["`Docker-Content-Digest`"]);
    let twice = || {
        let reply = Reply::ok(MANIFEST).header("Docker-Content-Digest", digest_of(MANIFEST));
        reply.header("Docker-Content-Digest", digest_of(b"another"))
    };
    fails(twice, ErrorKind::DigestMismatch, &["announced"]);
    let two_types = || Reply::ok(MANIFEST).header("Content-Type", OCI).header("Content-Type", "text/html");
    fails(two_types, ErrorKind::RegistryError, &["two media types"]);
}

#[test]
fn what_is_not_there() {
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    fails(move || Reply::new(404, unknown), ErrorKind::ManifestUnknown, &["does not have"]);
    let nameless = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#;
    fails(move || Reply::new(404, nameless), ErrorKind::ManifestUnknown, &["does not know the repository"]);
    fails(|| Reply::new(404, "<html>"), ErrorKind::ManifestUnknown, &["does not have"]);
    let denied = r#"{"errors":[{"code":"DENIED","message":"access denied"}]}"#;
    fails(move || Reply::new(403, denied), ErrorKind::Unauthorized, &["pctr login", "access denied"]);
    fails(|| Reply::new(401, ""), ErrorKind::Unauthorized, &["log in with `pctr login 127.0.0.1:"]);
}

#[test]
fn the_registrys_own_words_are_tamed() {
    let hostile = format!(r#"{{"errors":[{{"code":"X","message":"red \u001b[31m alert\n{}"}}]}}"#, "z".repeat(5000));
    fails(move || Reply::new(400, hostile.clone()), ErrorKind::RegistryError, &["400", "red [31m alert zzz", "…"]);
    fails(|| Reply::new(400, "{\"errors\": 5}"), ErrorKind::RegistryError, &["answered 400 (Bad Request)"]);
    fails(|| Reply::new(418, "[".repeat(60_000)), ErrorKind::RegistryError, &["418"]);
    fails(|| Reply::new(400, noise(1_000_000)), ErrorKind::RegistryError, &["400"]);
}

#[test]
fn a_manifest_that_is_far_too_long() {
    fails(|| Reply::ok(vec![b' '; 4 * 1024 * 1024 + 1]), ErrorKind::TooLarge, &["4 MiB"]);
    fails(|| Reply::ok(vec![b' '; 6 * 1024 * 1024]).chunked(), ErrorKind::TooLarge, &["4 MiB"]);
    let server = Server::start(|_, _| Reply::ok(vec![b' '; 4 * 1024 * 1024]));
    registry(&server, &options()).manifest("x", "1", &[]).unwrap();
}

#[test]
fn servers_in_trouble_are_asked_again() {
    let server = Server::start(|_, number| match number {
        0 => Reply::new(500, ""),
        1 => Reply::new(503, ""),
        2 => Reply::ok(MANIFEST).breaking_after(5),
        _ => Reply::ok(MANIFEST),
    });
    assert_eq!(registry(&server, &options()).manifest("x", "1", &[]).unwrap().body, MANIFEST);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn five_attempts_are_enough() {
    let server = Server::start(|_, _| Reply::new(502, r#"{"errors":[{"code":"UNAVAILABLE","message":"no backend"}]}"#));
    let error = registry(&server, &options()).manifest("x", "1", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryError);
    assert!(error.message.contains("answered 502 (Bad Gateway) for `x:1`: no backend"), "{error}");
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn retry_after_is_obeyed() {
    let server = Server::start(|_, number| match number {
        0 => Reply::new(429, "").header("Retry-After", "1"),
        _ => Reply::ok(MANIFEST),
    });
    let begun = Instant::now();
    registry(&server, &options()).manifest("x", "1", &[]).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_silent_registry() {
    let server = Server::start(|_, _| Reply::ok(MANIFEST).hanging_after(0));
    let begun = Instant::now();
    let error = registry(&server, &impatient()).manifest("x", "1", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable);
    assert!(error.message.contains("timed out after 0.5 s while waiting for an answer"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn nobody_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Registry::new(&format!("http://{free}"), &options()).unwrap().ping().unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable);
    assert!(error.message.contains("connection refused"), "{error}");
    let nowhere = Registry::new("http://registry.invalid", &impatient()).unwrap().ping().unwrap_err();
    assert_eq!(nowhere.kind, ErrorKind::RegistryUnreachable);
    assert!(nowhere.message.contains("`registry.invalid`") && nowhere.message.contains("host name"), "{nowhere}");
}

#[test]
fn no_http_and_no_tls() {
    fails(|| Reply::raw("SSH-2.0-OpenSSH_9.2\r\n"), ErrorKind::RegistryError, &["HTTP"]);
    fails(|| Reply::raw(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(200_000))), ErrorKind::RegistryError, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let plain = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    });
    let error = Registry::new(&url, &options()).unwrap().ping().unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable);
    assert!(error.message.contains("it does not speak TLS"), "{error}");
    plain.join().unwrap();
}

#[test]
fn the_version_check() {
    let server = Server::start(|_, _| Reply::ok("{}"));
    registry(&server, &options()).ping().unwrap();
    assert_eq!(server.seen()[0].target, "/v2/");
    let other = Server::start(|_, _| Reply::new(404, "not here"));
    assert_eq!(registry(&other, &options()).ping().unwrap_err().kind, ErrorKind::RegistryError);
}

#[test]
fn small_blobs_are_checked() {
    let content = noise(50_000);
    let digest = digest_of(&content);
    let server = Server::start({
        let content = content.clone();
        move |seen, _| match seen.target.as_str() {
            target if target.starts_with("/v2/short/") => Reply::ok(&content[..100]),
            target if target.starts_with("/v2/long/") => Reply::ok([&content[..], b"more"].concat()),
            target if target.starts_with("/v2/wrong/") => Reply::ok(noise(50_001)[1..].to_vec()),
            target if target.starts_with("/v2/gone/") => Reply::new(404, ""),
            _ => Reply::ok(content.clone()),
        }
    });
    let client = registry(&server, &options());
    assert_eq!(client.blob("x", &digest, 50_000).unwrap(), content);
    for (repository, kind) in [
        ("short", ErrorKind::SizeMismatch),
        ("long", ErrorKind::SizeMismatch),
        ("wrong", ErrorKind::DigestMismatch),
        ("gone", ErrorKind::RegistryError),
    ] {
        let error = client.blob(repository, &digest, 50_000).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(&digest) && error.message.contains(&server.host()), "{error}");
    }
    let before = server.seen().len();
    assert_eq!(client.blob("x", &digest, 9 << 20).unwrap_err().kind, ErrorKind::TooLarge);
    assert_eq!(client.blob("x", "sha256:..", 1).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(client.blob("../x", &digest, 1).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(client.manifest("x", "a/b", &[]).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(client.manifest("x", "a", &["a\nb".to_owned()]).unwrap_err().kind, ErrorKind::InvalidArgument);
    assert_eq!(server.seen().len(), before, "nothing was asked");
}
