//! An HTTP server whose every answer is written by the test. It ends when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// How the body is sent.
enum Form {
    /// With its `Content-Length`.
    Sized,
    /// The `Content-Length` says this.
    Claimed(usize),
    Chunked,
    /// These bytes instead of a whole answer.
    Raw,
}

/// What to answer.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    form: Form,
    /// Bytes of the body after which the connection breaks.
    breaks_after: Option<usize>,
    /// Bytes of the body after which nothing comes any more.
    hangs_after: Option<usize>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let (headers, form) = (Vec::new(), Form::Sized);
        Self { status, headers, body: body.into(), form, breaks_after: None, hangs_after: None }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body)
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { form: Form::Raw, ..Self::ok(bytes) }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn claiming(self, length: usize) -> Self {
        Self { form: Form::Claimed(length), ..self }
    }

    pub fn chunked(self) -> Self {
        Self { form: Form::Chunked, ..self }
    }

    pub fn breaking_after(self, bytes: usize) -> Self {
        Self { breaks_after: Some(bytes), ..self }
    }

    pub fn hanging_after(self, bytes: usize) -> Self {
        Self { hangs_after: Some(bytes), ..self }
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    is_over: AtomicBool,
}

/// A running server on a free port of the loopback interface.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// `script` gets each request and how many came before it.
    pub fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut workers = Vec::new();
                for stream in listener.incoming() {
                    if shared.is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let shared = Arc::clone(&shared);
                    workers.push(std::thread::spawn(move || {
                        // A client that went away is part of many tests.
                        let _ = serve(&shared, stream);
                    }));
                }
                for worker in workers {
                    let _ = worker.join();
                }
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(shared, &mut reader)? {
        let number = {
            let mut all = shared.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let reply = (shared.script)(&seen, number);
        if !write_reply(shared, &mut writer, &reply)? {
            break;
        }
    }
    Ok(())
}

fn read_line(shared: &Shared, reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned())),
            Ok(_) => return Ok(None),
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => {
                if shared.is_over.load(Ordering::SeqCst) {
                    return Ok(None);
                }
            }
            Err(cause) => return Err(cause),
        }
    }
}

fn read_request(shared: &Shared, reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let Some(first) = read_line(shared, reader)? else { return Ok(None) };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut seen = Seen { method, target, headers: Vec::new(), body: String::new() };
    while let Some(line) = read_line(shared, reader)? {
        let Some((name, value)) = line.split_once(':') else { break };
        seen.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if let Some(length) = seen.header("content-length").and_then(|length| length.parse().ok()) {
        let mut body = vec![0; length];
        reader.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
        reader.read_exact(&mut body)?;
        reader.get_ref().set_read_timeout(Some(Duration::from_millis(50)))?;
        seen.body = String::from_utf8_lossy(&body).into_owned();
    }
    Ok(Some(seen))
}

/// False when the connection is to be closed.
fn write_reply(shared: &Shared, writer: &mut TcpStream, reply: &Reply) -> std::io::Result<bool> {
    if matches!(reply.form, Form::Raw) {
        writer.write_all(&reply.body)?;
        return Ok(false);
    }
    let length = match reply.form {
        Form::Claimed(length) => length,
        _ => reply.body.len(),
    };
    let is_chunked = matches!(reply.form, Form::Chunked);
    let framing =
        if is_chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
    let headers: String = reply.headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
    let head = format!("HTTP/1.1 {} Scripted\r\n{headers}{framing}\r\n\r\n", reply.status);
    writer.write_all(head.as_bytes())?;
    let end = reply.breaks_after.or(reply.hangs_after).unwrap_or(reply.body.len());
    let body = &reply.body[..end];
    if is_chunked {
        for chunk in body.chunks(10_000) {
            writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            writer.write_all(chunk)?;
            writer.write_all(b"\r\n")?;
        }
    } else {
        writer.write_all(body)?;
    }
    if reply.hangs_after.is_some() {
        while !shared.is_over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        return Ok(false);
    }
    if reply.breaks_after.is_some() {
        return Ok(false);
    }
    if is_chunked {
        writer.write_all(b"0\r\n\r\n")?;
    }
    Ok(length == reply.body.len())
}
