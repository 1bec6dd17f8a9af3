//! Layers from a registry into a store. Unpacking sets owners, which takes root.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ctr_core::layer::{ApplyLimits, DirectoryStore, LayerInfo, LayerStore};
use ctr_core::progress::{Phase, Progress};
use ctr_core::registry::{LayerBlob, Registry};
use ctr_core::scratch::Scratch;
use ctr_core::{Error, ErrorKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::server::{Reply, Server};
use crate::{digest_of, noise, options, registry};

const LIMITS: ApplyLimits = ApplyLimits { max_bytes: 100 << 20 };

/// An archive (ustar) of one file with this content.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |offset: usize, field: &[u8]| header[offset..offset + field.len()].copy_from_slice(field);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; content.len().next_multiple_of(512) - content.len() + 1024];
    [header, content.to_vec(), padding].concat()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A store in a folder of its own, and a layer that a registry may have.
struct Bench {
    folder: TempDir,
    store: DirectoryStore,
    compressed: Vec<u8>,
    digest: String,
    diff_id: String,
}

impl Bench {
    /// None, with a printed reason, without root.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: unpacking layers takes root");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let store = DirectoryStore::open(Scratch::open(folder.path()).unwrap()).unwrap();
        let archive = archive("file", &noise(400_000));
        let compressed = gzip(&archive);
        let (digest, diff_id) = (digest_of(&compressed), digest_of(&archive));
        Some(Self { folder, store, compressed, digest, diff_id })
    }

    fn blob(&self) -> LayerBlob<'_> {
        LayerBlob {
            repository: "a/b",
            digest: &self.digest,
            size: self.compressed.len() as u64,
            diff_id: &self.diff_id,
        }
    }

    fn pull(&self, client: &Registry, progress: Option<&Arc<Progress>>) -> Result<LayerInfo, Error> {
        client.pull_layer(&self.store, &self.blob(), LIMITS, progress)
    }

    fn file(&self) -> PathBuf {
        let lowers = self.store.rootfs_lowers(std::slice::from_ref(&self.diff_id)).unwrap();
        lowers[0].join("file")
    }

    /// The pull fails with this kind, and nothing is left.
    fn fails(&self, reply: impl Fn(usize) -> Reply + Send + Sync + 'static, kind: ErrorKind) -> Error {
        let server = Server::start(move |_, number| reply(number));
        let error = self.pull(&registry(&server, &options()), None).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(&format!("`a/b@{}`", self.digest)), "{error}");
        assert!(self.store.layers().unwrap().is_empty());
        for part in ["tmp", "trash"] {
            let left = std::fs::read_dir(self.folder.path().join(part)).unwrap().count();
            assert_eq!(left, 0, "{part} is not empty");
        }
        error
    }
}

#[test]
fn a_layer_over_a_bad_line_is_kept_once() {
    let Some(bench) = Bench::new() else { return };
    let content = bench.compressed.clone();
    let server = Server::start(move |seen, number| match (number, seen.header("range")) {
        (0, None) => Reply::ok(content.clone()).breaking_after(150_000),
        (1, Some("bytes=150000-")) => Reply::new(206, &content[150_000..])
            .header("Content-Range", format!("bytes 150000-{}/{}", content.len() - 1, content.len())),
        _ => Reply::new(400, ""),
    });
    let client = registry(&server, &options());
    let progress: Arc<Progress> = Arc::default();
    let layer = bench.pull(&client, Some(&progress)).unwrap();
    assert_eq!((layer.diff_id.as_str(), layer.entries, layer.disk_bytes), (bench.diff_id.as_str(), 1, 400_000));
    assert_eq!(std::fs::read(bench.file()).unwrap(), noise(400_000));
    let size = bench.compressed.len() as u64;
    assert_eq!((progress.bytes(), progress.phase()), ((size, size), Phase::Complete));
    let again: Arc<Progress> = Arc::default();
    assert_eq!(bench.pull(&client, Some(&again)).unwrap(), layer);
    assert_eq!((again.phase(), server.seen().len()), (Phase::AlreadyExists, 2));
}

#[test]
fn two_pulls_do_the_work_once() {
    let Some(bench) = Bench::new() else { return };
    let content = bench.compressed.clone();
    let server = Server::start(move |_, _| {
        std::thread::sleep(Duration::from_millis(200));
        Reply::ok(content.clone())
    });
    let client = registry(&server, &options());
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.pull(&client, None).unwrap())).collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap().diff_id, bench.diff_id);
        }
    });
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_layer_that_is_not_the_one_is_not_kept() {
    let Some(bench) = Bench::new() else { return };
    let mut stored = bench.compressed.clone();
    let end = stored.len();
    // A flaw in the modification time of the gzip header: it unpacks all the same.
    stored[4] ^= 1;
    bench.fails(move |_| Reply::ok(stored.clone()), ErrorKind::DigestMismatch);
    let mut corrupt = bench.compressed.clone();
    corrupt[end / 2] ^= 0xff;
    corrupt[5000..6000].fill(0);
    bench.fails(move |_| Reply::ok(corrupt.clone()), ErrorKind::DigestMismatch);
    let longer = [bench.compressed.as_slice(), b"x"].concat();
    bench.fails(move |_| Reply::ok(longer.clone()).chunked(), ErrorKind::SizeMismatch);
    let shorter = bench.compressed[..end - 9].to_vec();
    bench.fails(move |_| Reply::ok(shorter.clone()).chunked(), ErrorKind::SizeMismatch);
}

#[test]
fn a_layer_that_is_not_what_its_image_says() {
    let Some(mut bench) = Bench::new() else { return };
    bench.diff_id = digest_of(b"another");
    let content = bench.compressed.clone();
    bench.fails(move |_| Reply::ok(content.clone()), ErrorKind::DigestMismatch);
    // Sound by its digest, and no archive at all.
    bench.compressed = noise(100_000);
    bench.digest = digest_of(&bench.compressed);
    let content = bench.compressed.clone();
    bench.fails(move |_| Reply::ok(content.clone()), ErrorKind::MalformedArchive);
}

#[test]
fn a_cancelled_pull_leaves_nothing() {
    let Some(bench) = Bench::new() else { return };
    let content = bench.compressed.clone();
    let server = Server::start(move |_, number| {
        let reply = Reply::ok(content.clone());
        if number == 0 { reply.hanging_after(200_000) } else { reply }
    });
    let client = registry(&server, &options());
    let progress: Arc<Progress> = Arc::default();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            progress.cancel();
        });
        bench.pull(&client, Some(&progress))
    });
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(std::fs::read_dir(bench.folder.path().join("tmp")).unwrap().count(), 0);
    bench.pull(&client, None).unwrap();
}
