//! Namespaces and mounts.

use std::fs;
use std::os::unix::fs::symlink;

use ctr_spec::{BindPropagation, FailureKind, InjectedFile, MountKind, MountSpec, NamespaceMode};

use crate::harness::{Container, sh};
use crate::needs_root;

fn mount(target: &str, kind: MountKind) -> MountSpec {
    MountSpec { target: target.into(), kind, is_readonly: false, no_exec: false, no_suid: false, no_dev: false }
}

fn bind(source: &std::path::Path, target: &str) -> MountSpec {
    let source = source.to_str().unwrap().into();
    mount(target, MountKind::Bind { source, recursive: true, propagation: BindPropagation::Private })
}

#[test]
fn everything_is_its_own() {
    needs_root!();
    let ended = Container::new(&sh("hostname; echo $$; ip -o link | wc -l; ip -o addr show lo | head -n1; \
         cat /proc/self/cgroup | grep -vc ':/$'; df /dev/shm | tail -n1 | tr -s ' '"))
    .run();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "testhost");
    assert_eq!(lines[1], "1");
    assert!(lines[3].contains("127.0.0.1"), "{}", ended.stdout);
    assert!(lines[5].contains("65536"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[test]
fn dev_is_complete_and_works() {
    needs_root!();
    let ended = Container::new(&sh(
        "cd /dev; stat -c '%n %a %t:%T' null zero full random urandom tty; for l in ptmx fd stdin; do readlink $l; done; \
         echo x > null; head -c 4 zero | wc -c; head -c 4 urandom | wc -c; ls pts; grep -c ' /dev/mqueue ' /proc/mounts; \
         grep ' /dev/shm ' /proc/mounts; grep ' /sys ' /proc/mounts; grep ' /proc ' /proc/mounts",
    ))
    .run();
    let expected = "null 666 1:3\nzero 666 1:5\nfull 666 1:7\nrandom 666 1:8\nurandom 666 1:9\ntty 666 5:0\n\
                    pts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n4\n4\nptmx\n1\n";
    assert!(ended.stdout.starts_with(expected), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("/dev/shm tmpfs rw,nosuid,nodev,noexec"));
    assert!(ended.stdout.contains("/sys sysfs ro,nosuid,nodev,noexec"));
    assert!(ended.stdout.contains("/proc proc rw,nosuid,nodev,noexec"));
}

#[test]
fn masked_and_readonly_paths() {
    needs_root!();
    let ended = Container::new(&sh(
        "wc -c < /proc/keys; ls /proc/scsi | wc -l; echo x > /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic; \
         mkdir /sys/x; for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo made $d; done; touch /proc/scsi/x; \
         ls /sys/fs/cgroup | tr '\\n' ' '; cat /sys/fs/cgroup/memory/memory.limit_in_bytes > /dev/null && echo seen",
    ))
    .run();
    assert!(ended.stdout.starts_with("0\n0\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("made"), "{}", ended.stdout);
    assert!(ended.stderr.matches("ead-only file system").count() >= 4, "{}", ended.stderr);
}

#[test]
fn images_with_links_in_place_of_system_directories_are_refused() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    for name in ["dev", "proc", "sys"] {
        for to in [canary.path().to_str().unwrap(), "../../../../etc", "/proc/self/root"] {
            let container = Container::new(&["true"]);
            symlink(to, container.layer.join(name)).unwrap();
            let failure = container.fail();
            assert_eq!((failure.kind, failure.subject.as_str()), (FailureKind::MountFailed, &*format!("/{name}")));
            assert!(failure.detail.contains("not a directory"), "{failure:?}");
        }
    }
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
}

#[test]
fn links_inside_dev_of_the_image_mean_nothing() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    let container = Container::new(&sh("stat -c %t:%T /dev/null; ls -d /dev/pts/ptmx"));
    fs::create_dir(container.layer.join("dev")).unwrap();
    for name in ["pts", "shm", "mqueue", "null", "console"] {
        symlink(canary.path(), container.layer.join("dev").join(name)).unwrap();
    }
    assert_eq!(container.run().stdout, "1:3\n/dev/pts/ptmx\n");
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
}

#[test]
fn binds_tmpfs_files_and_hidden_paths() {
    needs_root!();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "from outside").unwrap();
    let mut container = Container::new(&sh(
        "cat /data/file /one; touch /data/x || echo readonly; touch /rw/y; df -m /t | tail -n1 | tr -s ' '; \
         cat /etc/hosts; ls /home | wc -l; stat -c %a /t",
    ));
    let mut readonly = bind(outside.path(), "/data");
    readonly.is_readonly = true;
    container.spec.mounts = vec![
        readonly,
        bind(&outside.path().join("file"), "/one"),
        bind(outside.path(), "/rw"),
        mount("/t", MountKind::Tmpfs { size_bytes: Some(3 << 20), mode: Some(0o700) }),
    ];
    container.spec.files =
        vec![InjectedFile { path: "/etc/hosts".into(), content: "127.0.0.1 me\n".into(), mode: 0o644 }];
    container.spec.root.hidden_paths = vec!["/home".into(), "/nothing".into()];
    let ended = container.run();
    assert!(ended.stdout.starts_with("from outsidefrom outsidereadonly\n"), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains(" 3 "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("127.0.0.1 me\n0\n700\n"), "{}", ended.stdout);
    assert!(outside.path().join("y").exists() && !outside.path().join("x").exists());
}

#[test]
fn mount_targets_stay_inside_of_the_root() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    let mut container = Container::new(&["true"]);
    symlink(canary.path(), container.layer.join("vol")).unwrap();
    container.spec.mounts = vec![mount("/vol/x", MountKind::Tmpfs { size_bytes: None, mode: None })];
    container.fail();
    let mut container = Container::new(&["ls", "/vol"]);
    symlink("/", container.layer.join("vol")).unwrap();
    container.spec.mounts = vec![mount("/vol/../../x", MountKind::Tmpfs { size_bytes: None, mode: None })];
    assert_eq!(container.run().record.exit_code, 0);
    let mut container = Container::new(&["true"]);
    container.spec.mounts = vec![bind(&canary.path().join("absent"), "/x")];
    let failure = container.fail();
    assert_eq!(failure.kind, FailureKind::MountFailed);
    assert!(failure.subject.ends_with("absent"));
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
}

#[test]
fn nothing_is_mounted_into_proc() {
    needs_root!();
    let tmpfs = || MountKind::Tmpfs { size_bytes: None, mode: None };
    for target in ["/proc", "/proc/self", "/proc/sys", "/proc/../proc/1/attr"] {
        let mut container = Container::new(&["true"]);
        container.spec.mounts = vec![mount(target, tmpfs())];
        let failure = container.fail();
        assert_eq!(failure.kind, FailureKind::MountFailed);
        assert!(failure.detail.contains("/proc"), "{failure:?}");
    }
    let mut container = Container::new(&["cat", "/proc/uptime"]);
    container.spec.mounts = vec![bind(std::path::Path::new("/dev/null"), "/proc/uptime")];
    assert_eq!(container.run().stdout, "");
    let mut container = Container::new(&["ls", "/proc/self/exe"]);
    container.spec.mounts = vec![bind(std::path::Path::new("/proc"), "/proc")];
    container.run();
}

#[test]
fn a_readonly_root() {
    needs_root!();
    let mut container = Container::new(&sh("touch /x; echo a > /tmp/x || echo no; touch /dev/shm/x && pwd"));
    container.spec.root.is_readonly = true;
    container.spec.process.cwd = "/made".into();
    assert_eq!(container.run().stdout, "no\n/made\n");
}

#[test]
fn the_upper_is_written_and_the_lower_is_not() {
    needs_root!();
    let mut container = Container::new(&sh("echo x > /etc/new; rm /etc/group"));
    container.spec.root.is_volatile = true;
    let ended = container.run();
    assert!(ended.container.directory().join("upper/etc/new").exists());
    assert!(Container::new(&["cat", "/etc/group"]).run().stdout.contains("wheel"));
}

#[test]
fn namespaces_of_the_host_and_of_others() {
    needs_root!();
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_str().unwrap().to_owned();
    let mut container = Container::new(&sh("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done"));
    container.spec.namespaces.pid = NamespaceMode::Host;
    container.spec.namespaces.network = NamespaceMode::Host;
    container.spec.namespaces.ipc = NamespaceMode::Host;
    container.spec.namespaces.uts = NamespaceMode::Host;
    let output = container.run().stdout;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..4], [own("pid"), own("net"), own("ipc"), own("uts")]);
    assert_ne!(lines[4], own("mnt"));
    assert_ne!(lines[5], own("cgroup"));
    let first = Container::new(&["sleep", "100"]).start();
    let read =
        |name: &str| fs::read_link(format!("/proc/{}/ns/{name}", first.pid)).unwrap().to_str().unwrap().to_owned();
    let mut second =
        Container::new(&sh("for n in pid net; do readlink /proc/self/ns/$n; done; ps | grep -c 'sleep 100'"));
    second.spec.namespaces.network = NamespaceMode::Process { pid: first.pid, start_time: 0 };
    second.spec.namespaces.pid = NamespaceMode::Process { pid: first.pid, start_time: 0 };
    let output = second.run().stdout;
    assert!(output.starts_with(&format!("{}\n{}\n", read("pid"), read("net"))), "{output}");
    let mut third = Container::new(&["true"]);
    third.spec.namespaces.network = NamespaceMode::Process { pid: first.pid, start_time: 1 };
    assert_eq!(third.fail().kind, FailureKind::NamespaceGone);
    first.signal(9, false);
    first.wait();
}

#[test]
fn the_end_without_a_pid_namespace_ends_everybody() {
    needs_root!();
    let mut container = Container::new(&sh("sleep 1234 & sleep 1234 & exit 3"));
    container.spec.namespaces.pid = NamespaceMode::Host;
    assert_eq!(container.run().record.exit_code, 3);
}

#[test]
fn shared_ipc_shares_memory_files() {
    needs_root!();
    let first = Container::new(&["sleep", "100"]).start();
    let mut second = Container::new(&sh("echo shared > /dev/shm/file; pwd"));
    second.spec.namespaces.ipc = NamespaceMode::Process { pid: first.pid, start_time: 0 };
    second.spec.process.cwd = "/tmp".into();
    assert_eq!(second.run().stdout, "/tmp\n");
    assert_eq!(first.exec(&["cat", "/dev/shm/file"]).unwrap().1, "shared\n");
    first.signal(9, false);
    first.wait();
}

#[test]
fn privileged_containers_see_every_device_and_may_mount() {
    needs_root!();
    let mut container = Container::new(&sh(
        "mount -t tmpfs none /tmp && grep -c ' /tmp tmpfs' /proc/mounts; grep ' /sys ' /proc/mounts | grep -c rw; \
         ls /dev/kmsg; ls -d /dev/pts/ptmx",
    ));
    container.spec.process.capabilities = u64::MAX;
    container.spec.devices.allow_all = true;
    container.spec.writable_sys = true;
    container.spec.masked_paths.clear();
    container.spec.readonly_paths.clear();
    let ended = container.run();
    let kmsg = if std::path::Path::new("/dev/kmsg").exists() { "/dev/kmsg\n" } else { "" };
    assert_eq!(ended.stdout, format!("1\n1\n{kmsg}/dev/pts/ptmx\n"), "{}", ended.stderr);
}
