//! Starting containers for tests, and making sure that nothing of them stays.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ctr_spec::{
    AttachRequest, CgroupDir, CgroupPlan, CgroupVersion, CgroupWrite, ContainerSpec, DevicesSpec, ExecSpec, ExitRecord,
    Failure, FdRole, LogDriver, LogSpec, Lower, NamespacesSpec, ProcessSpec, RootSpec, SPEC_VERSION, SeccompSpec,
    ShimReply, ShimRequest, StartRequest, StdioMode, UserSpec, files,
};
use tempfile::TempDir;

/// Docker's fourteen.
pub const CAPABILITIES: u64 = 0xa804_25fb;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether tests that need the real thing can run; prints the reason otherwise.
pub fn can_run() -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if !Path::new("/bin/busybox").exists() && !Path::new("/usr/bin/busybox").exists() {
        "needs busybox-static"
    } else {
        return true;
    };
    eprintln!("skipped: {reason}");
    false
}

/// Ends the test early where it cannot run.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::harness::can_run() {
            return;
        }
    };
}

/// A root file system of busybox, made once for all tests and never written to.
fn base_layer() -> &'static Path {
    static LAYER: OnceLock<TempDir> = OnceLock::new();
    LAYER.get_or_init(|| {
        let layer = tempfile::tempdir().unwrap();
        let root = layer.path();
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["bin", "etc", "tmp", "root", "home/app", "usr/bin"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "true", "false", "cat", "ls", "echo", "id", "env", "pwd", "sleep", "grep", "mount", "touch", "mkdir",
            "df", "hostname", "ps", "stty", "wc", "head", "dd", "kill", "readlink", "seq", "tail", "tr", "stat",
            "test", "tty", "umask", "nc", "ip", "rm", "chmod",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nwheel:x:10:app\n").unwrap();
        fs::write(root.join("bin/noformat"), "just text\n").unwrap();
        fs::write(root.join("bin/nointerpreter"), "#!/no/such/thing\n").unwrap();
        fs::write(root.join("bin/nopermission"), "x").unwrap();
        for name in ["bin/noformat", "bin/nointerpreter"] {
            fs::set_permissions(root.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        layer
    });
    LAYER.get().unwrap().path()
}

/// A container to be started.
pub struct Container {
    pub spec: ContainerSpec,
    pub cgroups: CgroupPlan,
    pub seccomp: Option<Vec<u8>>,
    /// Topmost layer of this container alone, for images that are odd.
    pub layer: PathBuf,
    pub place: TempDir,
}

impl Container {
    pub fn new(args: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:032x}{:032x}", std::process::id(), number);
        let place = tempfile::tempdir().unwrap();
        let layer = place.path().join("layer");
        for name in ["layer", "container", "trash"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        let directory = |path: &Path| Lower::Directory { path: path.to_str().unwrap().into() };
        let spec = ContainerSpec {
            version: SPEC_VERSION,
            id: id.clone(),
            process: process(args),
            stdio: StdioMode::Direct,
            root: RootSpec {
                lowers: vec![directory(&layer), directory(base_layer())],
                is_readonly: false,
                is_volatile: false,
                hidden_paths: Vec::new(),
            },
            hostname: "testhost".into(),
            domainname: None,
            mounts: Vec::new(),
            files: Vec::new(),
            shm_size_bytes: 64 << 20,
            namespaces: NamespacesSpec::default(),
            limits: ctr_spec::LimitsSpec::default(),
            devices: DevicesSpec { allow_all: false, rules: Vec::new() },
            seccomp: SeccompSpec::Unconfined,
            masked_paths: vec!["/proc/kcore".into(), "/proc/keys".into(), "/proc/scsi".into(), "/no/such".into()],
            readonly_paths: vec!["/proc/sys".into(), "/proc/sysrq-trigger".into()],
            writable_sys: false,
            init: false,
            log: LogSpec { driver: LogDriver::JsonFile, max_size_bytes: 0, max_files: 1 },
            timeout_ms: None,
            auto_remove: false,
        };
        Self { spec, cgroups: plan(&id), seccomp: None, layer, place }
    }

    pub fn directory(&self) -> PathBuf {
        self.place.path().join("container")
    }

    /// Sets a limit in the group of a controller.
    pub fn limit(&mut self, controller: &str, file: &str, value: &str, is_required: bool) {
        let dir = self.cgroups.dirs.iter_mut().find(|dir| dir.controllers.iter().any(|name| name == controller));
        let write = CgroupWrite { file: file.into(), value: value.into(), is_required };
        dir.expect("the hierarchy is planned").writes.push(write);
    }

    /// Sends the start request with further descriptors.
    fn request(
        &self,
        attach: Option<AttachRequest>,
        more: Vec<(FdRole, OwnedFd)>,
    ) -> (OwnedFd, Option<ShimReply>, Vec<OwnedFd>) {
        let open = |path: &Path| -> OwnedFd { File::open(path).unwrap().into() };
        let lock = File::create(self.directory().join(files::LOCK)).unwrap();
        assert!(ctr_sys::lock::try_lock(lock.as_fd()).unwrap());
        let mut fds = vec![
            (FdRole::ContainerDir, open(&self.directory())),
            (FdRole::Lock, lock.into()),
            (FdRole::TrashDir, open(&self.place.path().join("trash"))),
        ];
        if let Some(program) = &self.seccomp {
            fds.push((FdRole::SeccompProgram, ctr_sys::memfd::sealed(c"filter", program).unwrap()));
        }
        fds.extend(more);
        let (roles, fds): (Vec<FdRole>, Vec<OwnedFd>) = fds.into_iter().unzip();
        let request =
            StartRequest { version: SPEC_VERSION, spec: self.spec.clone(), cgroups: self.cgroups.clone(), attach };
        let control = spawn_shim();
        send(&control, &ShimRequest::Start { request: Box::new(request), fds: roles }, &fds);
        drop(fds);
        let (reply, received) = receive(&control);
        (control, reply, received)
    }

    /// Starts the container; it must succeed.
    pub fn start_with(self, attach: Option<AttachRequest>, more: Vec<(FdRole, OwnedFd)>) -> Running {
        let (control, reply, fds) = self.request(attach, more);
        match reply {
            Some(ShimReply::Started { pid, warnings, .. }) => {
                Running { container: self, control, pid, _guard: Guard::new(pid), warnings, fds }
            }
            other => panic!("not started: {other:?}"),
        }
    }

    pub fn start(self) -> Running {
        self.start_with(None, Vec::new())
    }

    /// Starts the container; it must fail, and leave nothing.
    pub fn fail(self) -> Failure {
        let (control, reply, _) = self.request(None, Vec::new());
        let Some(ShimReply::Failed { failure }) = reply else { panic!("not refused: {reply:?}") };
        assert!(receive(&control).0.is_none(), "the shim has gone");
        let record: ExitRecord =
            serde_json::from_slice(&fs::read(self.directory().join(files::EXIT)).unwrap()).unwrap();
        assert_eq!(record.failure.as_ref(), Some(&failure));
        self.assert_nothing_left();
        failure
    }

    /// Runs to the end with captured output.
    pub fn run(self) -> Ended {
        let (stdout, out) = std::io::pipe().unwrap();
        let (stderr, err) = std::io::pipe().unwrap();
        let running = self.start_with(None, vec![(FdRole::Stdout, out.into()), (FdRole::Stderr, err.into())]);
        let (stdout, stderr) = (read_in_thread(stdout), read_in_thread(stderr));
        let mut ended = running.wait();
        ended.stdout = stdout.join().unwrap();
        ended.stderr = stderr.join().unwrap();
        ended
    }

    /// The control groups are gone and the lock is free.
    pub fn assert_nothing_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let lock = File::open(self.directory().join(files::LOCK));
        while lock.as_ref().is_ok_and(|lock| ctr_sys::lock::is_locked(lock.as_fd()).unwrap()) {
            assert!(Instant::now() < deadline, "the shim still holds the lock");
            std::thread::sleep(Duration::from_millis(1));
        }
        for dir in &self.cgroups.dirs {
            let path = Path::new(&dir.mount).join(&dir.parent).join(&dir.name);
            while path.exists() {
                assert!(Instant::now() < deadline, "left behind: {}", path.display());
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.place.path().to_str().unwrap()), "a mount was left on the host");
    }
}

pub fn process(args: &[&str]) -> ProcessSpec {
    ProcessSpec {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/bin:/usr/bin".into()],
        cwd: "/".into(),
        user: UserSpec::default(),
        capabilities: CAPABILITIES,
        no_new_privileges: false,
        rlimits: Vec::new(),
        oom_score_adj: None,
        umask: None,
    }
}

/// Every hierarchy of this machine that is mounted in the usual place.
fn plan(id: &str) -> CgroupPlan {
    let parent = format!("ctr-shim-test-{}", std::process::id());
    let mut dirs = Vec::new();
    let add = |dirs: &mut Vec<CgroupDir>, version, controllers: &[&str], mount: &str| {
        if Path::new(mount).join("cgroup.procs").exists() {
            dirs.push(CgroupDir {
                version,
                controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
                mount: mount.into(),
                parent: parent.clone(),
                name: id.into(),
                enable: Vec::new(),
                writes: Vec::new(),
            });
        }
    };
    for controller in ["memory", "pids", "devices", "cpuacct"] {
        add(&mut dirs, CgroupVersion::V1, &[controller], &format!("/sys/fs/cgroup/{controller}"));
    }
    add(&mut dirs, CgroupVersion::V2, &[], "/sys/fs/cgroup/unified");
    if dirs.is_empty() {
        add(&mut dirs, CgroupVersion::V2, &["memory", "pids"], "/sys/fs/cgroup");
        if let Some(dir) = dirs.first_mut() {
            dir.enable = dir.controllers.clone();
        }
    }
    CgroupPlan { dirs, device_program: None }
}

/// The shim of this build, or the one that `SHIM_UNDER_TEST` names (the static one, as it is shipped).
fn shim_path() -> PathBuf {
    std::env::var_os("SHIM_UNDER_TEST").map_or_else(|| env!("CARGO_BIN_EXE_pyrust-ctr-shim").into(), PathBuf::from)
}

fn spawn_shim() -> OwnedFd {
    static EXECUTABLE: OnceLock<OwnedFd> = OnceLock::new();
    let executable =
        EXECUTABLE.get_or_init(|| ctr_sys::memfd::sealed(c"shim", &fs::read(shim_path()).unwrap()).unwrap());
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(TIMEOUT)).unwrap();
    ctr_sys::spawn_detached(executable.as_fd(), &[c"pyrust-ctr-shim"], &[], theirs.as_fd()).unwrap();
    ours.into()
}

pub fn send(socket: &OwnedFd, request: &ShimRequest, fds: &[OwnedFd]) {
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    ctr_sys::frame::send(socket.as_fd(), &serde_json::to_vec(request).unwrap(), &borrowed).unwrap();
}

pub fn receive(socket: &OwnedFd) -> (Option<ShimReply>, Vec<OwnedFd>) {
    let mut waited = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut waited, Some(&limit)), Ok(1), "no answer in time");
    match ctr_sys::frame::recv(socket.as_fd(), 1 << 20) {
        Ok(Some((bytes, fds))) => (Some(serde_json::from_slice(&bytes).unwrap()), fds),
        _ => (None, Vec::new()),
    }
}

fn read_in_thread(mut source: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A container that runs.
pub struct Running {
    pub container: Container,
    pub control: OwnedFd,
    pub pid: u32,
    /// Ends the container with the test, also when that fails.
    _guard: Guard,
    pub warnings: Vec<String>,
    pub fds: Vec<OwnedFd>,
}

impl Running {
    pub fn connect(&self) -> OwnedFd {
        let stream = UnixStream::connect(self.container.directory().join(files::SOCKET)).unwrap();
        stream.into()
    }

    /// One request, one reply.
    pub fn ask(&self, request: &ShimRequest, fds: &[OwnedFd]) -> (OwnedFd, ShimReply, Vec<OwnedFd>) {
        let socket = self.connect();
        send(&socket, request, fds);
        let (reply, received) = receive(&socket);
        (socket, reply.expect("an answer"), received)
    }

    pub fn signal(&self, signal: i32, all: bool) {
        assert_eq!(self.ask(&ShimRequest::Signal { signal, all }, &[]).1, ShimReply::Done);
    }

    pub fn exec_with(&self, process: ProcessSpec, change: impl FnOnce(&mut ExecSpec)) -> ExecResult {
        let (stdout, out) = std::io::pipe().unwrap();
        let mut spec = ExecSpec {
            version: SPEC_VERSION,
            id: "e".repeat(64),
            process,
            terminal: None,
            is_privileged: false,
            timeout_ms: None,
        };
        change(&mut spec);
        let request =
            ShimRequest::Exec { spec: Box::new(spec), fds: vec![FdRole::Stdout, FdRole::Stderr], detach: false };
        let fds = [out.try_clone().unwrap().into(), out.into()];
        let (socket, reply, received) = self.ask(&request, &fds);
        drop(fds);
        let reader = read_in_thread(stdout);
        match reply {
            ShimReply::ExecStarted { .. } => {}
            ShimReply::Failed { failure } => return Err(failure),
            other => panic!("unexpected {other:?}"),
        }
        match receive(&socket).0 {
            Some(ShimReply::ExecExited { exit }) => Ok((exit, reader.join().unwrap(), received)),
            other => panic!("unexpected {other:?}"),
        }
    }

    pub fn exec(&self, args: &[&str]) -> ExecResult {
        self.exec_with(process(args), |_| ())
    }

    pub fn receive_exit(&self) -> ExitRecord {
        let Some(ShimReply::Exited { record }) = receive(&self.control).0 else { panic!("no exit record") };
        record
    }

    /// Waits for the end and checks that nothing stays.
    pub fn wait(self) -> Ended {
        let record = self.receive_exit();
        self.container.assert_nothing_left();
        Ended { record, container: self.container, stdout: String::new(), stderr: String::new() }
    }
}

/// How an exec ended, its output, and descriptors that came with the reply.
pub type ExecResult = Result<(ctr_spec::ExecExit, String, Vec<OwnedFd>), Failure>;

/// Kills the container's first process when it is dropped.
struct Guard(Option<OwnedFd>);

impl Guard {
    fn new(pid: u32) -> Self {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        Self(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            let _ = ctr_sys::process::signal(process.as_fd(), 9);
        }
    }
}

/// A container that has ended.
pub struct Ended {
    pub record: ExitRecord,
    pub container: Container,
    pub stdout: String,
    pub stderr: String,
}

/// A shell command as arguments.
pub fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}
