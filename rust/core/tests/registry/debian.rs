//! Against Debian's `docker-registry`, where it is installed: a real one, on a free loopback port, with its own folder.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ctr_core::ErrorKind;
use ctr_core::registry::{Credentials, LayerBlob, Registry, RegistryOptions};
use tempfile::TempDir;

use crate::{digest_of, noise, options};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry process; ends, with its folder, when dropped.
struct RealRegistry {
    child: Child,
    _folder: TempDir,
    host: String,
}

impl RealRegistry {
    /// None, with a printed reason, when the registry is not installed.
    fn start(more_config: &str) -> Option<Self> {
        let program = Path::new("/usr/bin/docker-registry");
        if !program.exists() {
            eprintln!("skipped: `docker-registry` is not installed");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n{more_config}",
            data.display()
        );
        std::fs::write(&config, text.replace("ADDRESS", &host)).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, _folder: folder, host };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < deadline, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn url(&self) -> String {
        format!("http://{}", self.host)
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent for pushing, which the transport itself cannot do.
fn pusher() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

fn push_blob(url: &str, repository: &str, content: &[u8]) -> String {
    let digest = digest_of(content);
    let begun = pusher().post(format!("{url}/v2/{repository}/blobs/uploads/")).send_empty().unwrap();
    assert_eq!(begun.status(), 202);
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let location = if location.starts_with('/') { format!("{url}{location}") } else { location };
    let join = if location.contains('?') { '&' } else { '?' };
    let ended = pusher()
        .put(format!("{location}{join}digest={digest}"))
        .header("content-type", "application/octet-stream")
        .send(content)
        .unwrap();
    assert_eq!(ended.status(), 201);
    digest
}

/// Pushes an image of one layer; returns the digests of manifest, config and layer.
fn push_image(url: &str, repository: &str, tag: &str, config: &[u8], layer: &[u8]) -> (String, String, String) {
    let config_digest = push_blob(url, repository, config);
    let layer_digest = push_blob(url, repository, layer);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{{"mediaType":"{LAYER_TYPE}","digest":"{layer_digest}","size":{}}}]}}"#,
        config.len(),
        layer.len()
    );
    let pushed = pusher()
        .put(format!("{url}/v2/{repository}/manifests/{tag}"))
        .header("content-type", MANIFEST_TYPE)
        .send(&manifest)
        .unwrap();
    assert_eq!(pushed.status(), 201);
    (digest_of(manifest.as_bytes()), config_digest, layer_digest)
}

#[test]
fn an_image_of_a_real_registry() {
    let Some(server) = RealRegistry::start("http: {addr: ADDRESS}\n") else { return };
    let layer = noise(3_000_000);
    let (manifest, config, blob) = push_image(&server.url(), "library/x", "1", b"{}", &layer);
    let client = Registry::new(&server.url(), &options()).unwrap();
    client.ping().unwrap();
    let accept = [MANIFEST_TYPE.to_owned()];
    let by_tag = client.manifest("library/x", "1", &accept).unwrap();
    assert_eq!(by_tag.digest.as_deref(), Some(manifest.as_str()));
    assert_eq!(by_tag.media_type, MANIFEST_TYPE);
    assert_eq!(client.manifest("library/x", &manifest, &accept).unwrap(), by_tag);
    assert_eq!(client.blob("library/x", &config, 2).unwrap(), b"{}");

    let described = LayerBlob { repository: "library/x", digest: &blob, size: 3_000_000, diff_id: &blob };
    let mut content = Vec::new();
    client.stream_layer(&described, None).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, layer);

    for (repository, reference) in [("library/x", "2"), ("library/y", "1"), ("library/x", digest_of(b"?").as_str())] {
        let error = client.manifest(repository, reference, &accept).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ManifestUnknown, "{error}");
    }
    assert_eq!(client.blob("library/x", &digest_of(b"?"), 2).unwrap_err().kind, ErrorKind::RegistryError);
}

#[test]
fn a_real_registry_with_passwords() {
    if !Path::new("/usr/bin/htpasswd").exists() {
        eprintln!("skipped: `htpasswd` is not installed");
        return;
    }
    let passwords = TempDir::new().unwrap();
    let file = passwords.path().join("htpasswd");
    let entry = Command::new("/usr/bin/htpasswd").args(["-Bbn", "ann", "s3cret"]).output().unwrap();
    std::fs::write(&file, entry.stdout).unwrap();
    let config = format!("http: {{addr: ADDRESS}}\nauth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
    let Some(server) = RealRegistry::start(&config) else { return };
    let ping = |password: Option<&str>| {
        let username = password.map(|_| "ann".to_owned());
        let credentials = Credentials { username, password: password.map(str::to_owned), identity_token: None };
        Registry::new(&server.url(), &RegistryOptions { credentials, ..options() }).unwrap().ping()
    };
    ping(Some("s3cret")).unwrap();
    assert_eq!(ping(Some("wrong")).unwrap_err().kind, ErrorKind::Unauthorized);
    let error = ping(None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.message.contains(&format!("`pctr login {}`", server.host)), "{error}");
}

#[test]
fn certificates_are_checked() {
    let keys = TempDir::new().unwrap();
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = keys.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = write("cert.pem", issued.cert.pem());
    let key = write("key.pem", issued.signing_key.serialize_pem());
    let config = format!(
        "http:\n  addr: ADDRESS\n  tls:\n    certificate: {}\n    key: {}\n",
        certificate.display(),
        key.display()
    );
    let Some(server) = RealRegistry::start(&config) else { return };
    let ping = |options: &RegistryOptions| Registry::new(&format!("https://{}", server.host), options)?.ping();

    let error = ping(&options()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable, "{error}");
    assert!(error.message.contains("TLS failed"), "{error}");
    ping(&RegistryOptions { insecure: true, ..options() }).unwrap();
    ping(&RegistryOptions { ca_file: Some(certificate), ..options() }).unwrap();

    let error = ping(&RegistryOptions { ca_file: Some(key), ..options() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
    let missing = keys.path().join("missing.pem");
    let error = ping(&RegistryOptions { ca_file: Some(missing), ..options() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}
