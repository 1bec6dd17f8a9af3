//! Layers: one stream over broken connections, and an end that is only reached when everything is right.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ctr_core::progress::Progress;
use ctr_core::registry::{LayerBlob, Registry};
use ctr_core::{Error, ErrorKind};

use crate::server::{Reply, Server};
use crate::{digest_of, impatient, noise, options, registry};

const SIZE: usize = 300_000;

/// Reads the whole layer whose content is `noise(SIZE)`.
fn fetch(client: &Registry, progress: Option<&Arc<Progress>>) -> Result<Vec<u8>, Error> {
    let digest = digest_of(&noise(SIZE));
    let blob = LayerBlob { repository: "a/b", digest: &digest, size: SIZE as u64, diff_id: &digest };
    read(client, &blob, progress)
}

fn read(client: &Registry, blob: &LayerBlob<'_>, progress: Option<&Arc<Progress>>) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let mut stream = client.stream_layer(blob, progress)?;
    let ended = stream.read_to_end(&mut content);
    match ended {
        Ok(_) => Ok(content),
        Err(cause) => {
            assert!(stream.read(&mut [0]).is_err(), "an error does not turn into an end");
            Err(*cause.into_inner().unwrap().downcast().unwrap())
        }
    }
}

/// The offset that a request asks for.
fn offset(range: Option<&str>) -> usize {
    range.map_or(0, |range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
}

/// The proper answer to a range request.
fn rest(offset: usize) -> Reply {
    if offset == 0 {
        return Reply::ok(noise(SIZE));
    }
    let range = format!("bytes {offset}-{}/{SIZE}", SIZE - 1);
    Reply::new(206, &noise(SIZE)[offset..]).header("Content-Range", range)
}

fn fails(reply: impl Fn(usize) -> Reply + Send + Sync + 'static, kind: ErrorKind, word: &str) -> Server {
    let server = Server::start(move |_, number| reply(number));
    let error = fetch(&registry(&server, &impatient()), None).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(word) && error.message.contains("`a/b@sha256:"), "{error}");
    assert!(error.message.contains(&server.host()), "{error}");
    server
}

#[test]
fn a_layer_arrives_and_is_counted() {
    for is_chunked in [false, true] {
        let server = Server::start(move |_, _| if is_chunked { rest(0).chunked() } else { rest(0) });
        let progress = Arc::default();
        let client = registry(&server, &options());
        assert_eq!(fetch(&client, Some(&progress)).unwrap(), noise(SIZE));
        assert_eq!(progress.bytes().0, SIZE as u64);
        fetch(&client, None).unwrap();
        assert_eq!((server.seen().len(), server.connections()), (2, 1), "the connection was used again");
    }
}

#[test]
fn broken_connections_resume() {
    let server = Server::start(|seen, number| {
        let from = offset(seen.header("range"));
        match number {
            0 => rest(from).breaking_after(100_000),
            1 => Reply::new(503, ""),
            2 => rest(from).breaking_after(1),
            3 => rest(from).breaking_after(0),
            _ => rest(from),
        }
    });
    let progress = Arc::default();
    assert_eq!(fetch(&registry(&server, &options()), Some(&progress)).unwrap(), noise(SIZE));
    assert_eq!(progress.bytes().0, SIZE as u64);
    let asked: Vec<usize> = server.seen().iter().map(|seen| offset(seen.header("range"))).collect();
    assert_eq!(asked, [0, 100_000, 100_000, 100_001, 100_001]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let server = Server::start(|_, number| match number {
        0 => rest(0).breaking_after(200_000),
        1 => rest(0).breaking_after(100),
        _ => rest(0),
    });
    let progress = Arc::default();
    assert_eq!(fetch(&registry(&server, &options()), Some(&progress)).unwrap(), noise(SIZE));
    assert_eq!(progress.bytes().0, SIZE as u64, "nothing is counted twice");
}

#[test]
fn a_stall_resumes_and_a_silence_ends() {
    let server = Server::start(|seen, number| {
        let from = offset(seen.header("range"));
        if number == 0 { rest(from).hanging_after(50_000) } else { rest(from) }
    });
    assert_eq!(fetch(&registry(&server, &impatient()), None).unwrap(), noise(SIZE));
    let begun = Instant::now();
    fails(|_| rest(0).hanging_after(0), ErrorKind::RegistryUnreachable, "timed out after 0.5 s");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn ranges_that_lie() {
    let broken_then =
        |reply: fn() -> Reply| move |number| if number == 0 { rest(0).breaking_after(1000) } else { reply() };
    fails(broken_then(|| rest(999)), ErrorKind::RegistryError, "continued with the bytes 999-");
    fails(broken_then(|| Reply::new(206, noise(1000))), ErrorKind::RegistryError, "without saying where");
    let longer = || {
        let range = format!("bytes 1000-{}/{}", SIZE - 1, SIZE + 5);
        Reply::new(206, &noise(SIZE)[1000..]).header("Content-Range", range)
    };
    fails(broken_then(longer), ErrorKind::SizeMismatch, "300005 bytes");
    let server = fails(broken_then(|| Reply::new(416, "")), ErrorKind::RegistryError, "416");
    assert_eq!(server.seen().len(), 2, "it is not asked again");
    fails(|_| rest(5), ErrorKind::RegistryError, "206");
}

#[test]
fn content_that_lies() {
    let wrong = || {
        let mut content = noise(SIZE);
        content[SIZE - 1] ^= 1;
        content
    };
    fails(move |_| Reply::ok(wrong()), ErrorKind::DigestMismatch, "came with the digest `sha256:");
    fails(|_| Reply::ok(noise(SIZE + 1)), ErrorKind::SizeMismatch, "announced with 300001 bytes");
    fails(|_| Reply::ok(noise(SIZE + 1)).chunked(), ErrorKind::SizeMismatch, "longer than the 300000 bytes");
    fails(|_| Reply::ok(noise(SIZE - 1)), ErrorKind::SizeMismatch, "announced with 299999 bytes");
    fails(|_| Reply::ok(noise(SIZE - 1)).chunked(), ErrorKind::SizeMismatch, "ends after 299999 bytes");
    fails(|_| Reply::ok("").claiming(SIZE + 1), ErrorKind::SizeMismatch, "announced");
    fails(|_| Reply::new(404, ""), ErrorKind::RegistryError, "does not have");
}

#[test]
fn attempts_that_gain_nothing_come_to_an_end() {
    let server = fails(|_| rest(0).breaking_after(0), ErrorKind::RegistryUnreachable, "closed the connection early");
    assert_eq!(server.seen().len(), 5);
    let server = fails(|_| Reply::new(500, ""), ErrorKind::RegistryError, "500");
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn one_byte_at_a_time_is_no_progress() {
    let server = Server::start(|seen, _| rest(offset(seen.header("range"))).breaking_after(1));
    let error = fetch(&registry(&server, &options()), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable);
    assert_eq!(server.seen().len(), 5);
}

/// Fetches, and cancels a moment later.
fn fetch_and_cancel(client: &Registry) -> Result<Vec<u8>, Error> {
    let progress: Arc<Progress> = Arc::default();
    let begun = Instant::now();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            progress.cancel();
        });
        fetch(client, Some(&progress))
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    outcome
}

#[test]
fn cancelling_does_not_wait_for_the_server() {
    let server = Server::start(|_, number| match number {
        0 => rest(0).hanging_after(10),
        1 => Reply::new(503, "").header("Retry-After", "30"),
        _ => rest(0),
    });
    let client = registry(&server, &options());
    for _ in 0..2 {
        assert_eq!(fetch_and_cancel(&client).unwrap_err().kind, ErrorKind::Cancelled);
    }
    assert_eq!(fetch(&client, None).unwrap(), noise(SIZE), "the next layer is not hurt");
    // A listener that accepts and never says a word.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Registry::new(&format!("http://{}", mute.local_addr().unwrap()), &options()).unwrap();
    assert_eq!(fetch_and_cancel(&client).unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn cancelling_does_not_wait_for_a_connection() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &"127.0.0.1:0".parse::<std::net::SocketAddrV4>().unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let address = std::net::SocketAddrV4::try_from(getsockname(&listener).unwrap()).unwrap();
    // Once its queue is full, a listener that never accepts lets others wait.
    let connect = || TcpStream::connect_timeout(&address.into(), Duration::from_millis(300)).ok();
    let queue: Vec<TcpStream> = std::iter::from_fn(connect).take(50).collect();
    assert!(queue.len() < 50);
    let client = Registry::new(&format!("http://{address}"), &options()).unwrap();
    assert_eq!(fetch_and_cancel(&client).unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn a_token_that_expires_between_two_connections() {
    let server = Server::start(|seen, number| match (seen.target.split('?').next().unwrap(), number) {
        ("/token", number) => Reply::ok(format!(r#"{{"token":"t{number}"}}"#)),
        (_, 2) => rest(0).breaking_after(1000),
        (_, 5) => rest(offset(seen.header("range"))),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Reply::new(401, "").header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        }
    });
    assert_eq!(fetch(&registry(&server, &options()), None).unwrap(), noise(SIZE));
    let seen = server.seen();
    assert_eq!(seen[2].header("authorization"), Some("Bearer t1"));
    assert_eq!(seen[3].header("authorization"), Some("Bearer t1"));
    assert_eq!(seen[5].header("authorization"), Some("Bearer t4"));
}

#[test]
fn an_empty_layer() {
    let server = Server::start(|_, _| Reply::ok(""));
    let client = registry(&server, &options());
    let digest = digest_of(b"");
    let blob = LayerBlob { repository: "x", digest: &digest, size: 0, diff_id: &digest };
    assert_eq!(read(&client, &blob, None).unwrap(), b"");
    let digest = digest_of(b"something");
    let blob = LayerBlob { repository: "x", digest: &digest, size: 0, diff_id: &digest };
    assert_eq!(read(&client, &blob, None).unwrap_err().kind, ErrorKind::DigestMismatch);
}
