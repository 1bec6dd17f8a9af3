//! A place for real containers: a temporary state directory, a busybox root, and cleaning up after failing tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use ctr_core::container::{self, RunOutcome, never};
use serde_json::{Value, json};

/// Docker's fourteen capabilities.
const CAPABILITIES: u64 = 0xa804_25fb;
const SHIM: &str = "pyrust-ctr-shim";
const BUSYBOX: &str = "/bin/busybox";

/// Everything that a test makes; gone when the test is over.
pub struct Sandbox {
    directory: tempfile::TempDir,
    ids: Mutex<Vec<String>>,
}

/// Makes a sandbox, or says why the test is skipped.
pub fn sandbox() -> Option<Sandbox> {
    static NAME_SHIM: Once = Once::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: containers need root");
        return None;
    }
    if !Path::new(BUSYBOX).exists() {
        eprintln!("skipped: `{BUSYBOX}` is not installed (package `busybox-static`)");
        return None;
    }
    let shim = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().join(SHIM);
    if !shim.exists() {
        eprintln!("skipped: `{}` is not built (`cargo build -p ctr-shim`)", shim.display());
        return None;
    }
    NAME_SHIM.call_once(|| container::set_shim(&shim));
    let directory = tempfile::tempdir().unwrap();
    for name in ["root/bin", "root/etc", "root/tmp", "containers", "trash"] {
        std::fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    let root = directory.path().join("root");
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "sleep", "head", "tail", "mknod", "echo", "id", "ls", "stty", "unshare", "true", "wc"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n").unwrap();
    Some(Sandbox { directory, ids: Mutex::default() })
}

impl Sandbox {
    /// A specification that runs `args` with collected output; change what the test is about.
    pub fn spec(&self, args: &[&str]) -> Value {
        let id = fresh_id();
        self.ids.lock().unwrap().push(id.clone());
        let device = |kind: &str, major: Value, minor: Value, access: &str| json!({"kind": kind, "major": major, "minor": minor, "access": access, "allow": true});
        let mut rules = vec![
            device("c", Value::Null, Value::Null, "m"),
            device("b", Value::Null, Value::Null, "m"),
            device("c", json!(136), Value::Null, "rwm"),
            device("c", json!(5), json!(2), "rwm"),
        ];
        for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)] {
            rules.push(device("c", json!(major), json!(minor), "rwm"));
        }
        json!({
            "version": 1, "id": id, "hostname": "box", "shm_size_bytes": 1 << 20,
            "process": {"args": args, "env": ["PATH=/bin:/usr/bin"], "cwd": "/", "capabilities": CAPABILITIES},
            "stdio": {"mode": "direct"},
            "root": {"lowers": [{"kind": "directory", "path": self.directory.path().join("root")}], "is_volatile": true},
            "namespaces": {}, "devices": {"allow_all": false, "rules": rules}, "seccomp": {"mode": "default"},
            "log": {"driver": "none", "max_size_bytes": 0, "max_files": 1}, "auto_remove": true,
        })
    }

    /// A specification of a container that is started on its own.
    pub fn service(&self, args: &[&str]) -> Value {
        let mut spec = self.spec(args);
        spec["stdio"] = json!({"mode": "piped", "open_stdin": false, "stdin_once": false});
        spec["auto_remove"] = json!(false);
        // Its upper layer is mounted again at the next start.
        spec["root"]["is_volatile"] = json!(false);
        spec["log"] = json!({"driver": "json-file", "max_size_bytes": 1 << 20, "max_files": 2});
        spec
    }

    pub fn trash(&self) -> PathBuf {
        self.directory.path().join("trash")
    }

    pub fn container_dir(&self, spec: &Value) -> PathBuf {
        self.directory.path().join("containers").join(id_of(spec))
    }

    pub fn run(&self, spec: &Value, input: Option<&[u8]>) -> ctr_core::Result<RunOutcome> {
        let bytes = serde_json::to_vec(spec).unwrap();
        container::run(&self.container_dir(spec), &self.trash(), &bytes, input, &mut never())
    }

    /// Creates a container and starts it.
    pub fn start(&self, spec: &Value) -> ctr_core::Result<container::StartedContainer> {
        let directory = self.container_dir(spec);
        container::create(&directory, &serde_json::to_vec(spec).unwrap())?;
        container::start(&directory, &self.trash(), container::StartStreams::default(), &mut never())
    }

    /// Nothing of a container is left: neither directory nor control group.
    pub fn assert_nothing_left(&self, spec: &Value) {
        let directory = self.container_dir(spec);
        // The shim removes after it has answered.
        for _ in 0..200 {
            if !directory.exists() && groups_of(id_of(spec)).is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("left: {:?} {:?}", directory.exists(), groups_of(id_of(spec)));
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for id in self.ids.lock().unwrap().drain(..) {
            let directory = self.directory.path().join("containers").join(&id);
            if let Ok(probe) = container::probe(&directory)
                && probe.state == container::ContainerState::Running
            {
                let _ = container::signal(&directory, 9, true);
                let _ = container::wait(&directory, Some(std::time::Duration::from_secs(5)), &mut never());
            }
            let _ = container::repair(&directory, &id);
            let _ = container::remove(&directory, &id, &self.trash(), &mut never());
        }
    }
}

pub fn id_of(spec: &Value) -> &str {
    spec["id"].as_str().unwrap()
}

/// Control groups that a container has.
pub fn groups_of(id: &str) -> Vec<PathBuf> {
    let machine = ctr_core::cgroup::host().unwrap();
    let mounts = machine.v1.iter().map(|v1| &v1.mount).chain(machine.v2.iter().map(|v2| &v2.mount));
    mounts.map(|mount| Path::new(mount).join(ctr_core::cgroup::group_name(id))).filter(|path| path.exists()).collect()
}

pub fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{:016x}{count:016x}", now, std::process::id())
}

/// An exec's specification.
pub fn exec_spec(args: &[&str]) -> Value {
    json!({
        "version": 1, "id": fresh_id(),
        "process": {"args": args, "env": ["PATH=/bin"], "cwd": "/", "capabilities": CAPABILITIES},
    })
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
