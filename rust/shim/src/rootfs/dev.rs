//! `/dev`: a tmpfs of the container's own. Nothing in it comes from the image.

use std::os::fd::{AsFd, OwnedFd};

use ctr_spec::FailureKind;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;

use super::Root;
use super::new_mount::{INERT, attach, copy_of, copy_of_entry, fresh, refer};
use super::system::system_target;
use crate::failure::{Outcome, Step, refused};

/// Name, major, minor of the character devices that every container has.
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What privileged containers do not get from the host's `/dev`: mounts of their own, and what names the host's session.
const NOT_COPIED: [&str; 9] = ["pts", "shm", "mqueue", "fd", "console", "ptmx", "hugepages", ".lxc", ".udev"];
const STEP: &str = "mount /dev";

/// What `/dev/shm` is.
#[derive(Debug)]
pub enum Shm {
    /// A tmpfs of the container's own, with this size limit in bytes.
    Own(u64),
    /// That of the host, or of the container whose IPC namespace is shared, as a detached mount.
    Shared(OwnedFd),
}

/// The finished `/dev`.
#[derive(Debug)]
pub struct Dev {
    /// Its top directory.
    pub tmpfs: OwnedFd,
    /// The container's own terminals.
    pub devpts: OwnedFd,
}

/// Mounts and fills `/dev`.
pub fn mount(root: &Root, shm: Shm, has_all_devices: bool) -> Outcome<Dev> {
    let target = system_target(root, "dev", STEP)?;
    let build = move || -> std::io::Result<Dev> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_STRICTATIME;
        let tmpfs = fresh("tmpfs", &[("mode", "755"), ("size", "65536k")], attributes)?;
        attach(tmpfs.as_fd(), target.as_fd())?;
        for (name, major, minor) in NODES {
            match make_node(&tmpfs, name, FileType::CharacterDevice, makedev(major, minor), 0o666) {
                // The device rules forbid to make nodes: the host's are shown instead.
                Err(Errno::PERM) => bind_node(&tmpfs, name, makedev(major, minor))?,
                other => other?,
            }
        }
        for (name, to) in LINKS {
            rustix::fs::symlinkat(to, &tmpfs, name)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755))?;
        }
        let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
        let inert = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let devpts = fresh("devpts", &options, inert)?;
        attach(devpts.as_fd(), refer(&tmpfs, "pts")?.as_fd())?;
        let shm = match shm {
            Shm::Shared(mount) => mount,
            Shm::Own(size_bytes) => {
                let size = size_bytes.to_string();
                fresh("tmpfs", &[("mode", "1777"), ("size", &size)], INERT)?
            }
        };
        attach(shm.as_fd(), refer(&tmpfs, "shm")?.as_fd())?;
        match fresh("mqueue", &[], INERT) {
            Ok(mqueue) => attach(mqueue.as_fd(), refer(&tmpfs, "mqueue")?.as_fd())?,
            // A kernel without POSIX message queues.
            Err(Errno::NODEV) => {}
            Err(error) => return Err(error.into()),
        }
        if has_all_devices {
            copy_nodes("/dev", &tmpfs, true)?;
        }
        Ok(Dev { tmpfs, devpts })
    };
    build().step(FailureKind::MountFailed, STEP, "/dev")
}

fn bind_node(directory: &OwnedFd, name: &str, device: u64) -> std::io::Result<()> {
    let source = rustix::fs::open(format!("/dev/{name}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let status = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice || status.st_rdev != device {
        return Err(Errno::NODEV.into());
    }
    rustix::fs::mknodat(directory, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)?;
    attach(copy_of(source.as_fd(), false)?.as_fd(), refer(directory, name)?.as_fd())
}

fn make_node(directory: &OwnedFd, name: &str, kind: FileType, device: u64, mode: u32) -> rustix::io::Result<()> {
    rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(mode), device)?;
    // The creation mask of this process took bits away.
    rustix::fs::chmodat(directory, name, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Makes every device node of the host's directory in ours; mounts and links are left out.
fn copy_nodes(from: &str, to: &OwnedFd, is_top: bool) -> rustix::io::Result<()> {
    let directory = rustix::fs::open(from, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") || is_top && NOT_COPIED.contains(&name) {
            continue;
        }
        let Ok(status) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(status.st_mode) {
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                match make_node(to, name, kind, status.st_rdev, status.st_mode & 0o7777) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                let (uid, gid) = (rustix::fs::Uid::from_raw(status.st_uid), rustix::fs::Gid::from_raw(status.st_gid));
                rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o755))?;
                copy_nodes(&format!("{from}/{name}"), &refer(to, name)?, false)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Both sides of a new terminal in the container's own devpts.
pub fn open_terminal(devpts: &OwnedFd, rows: u16, columns: u16) -> Outcome<(OwnedFd, OwnedFd)> {
    let step = "open a terminal";
    let open = || -> rustix::io::Result<Option<(OwnedFd, OwnedFd)>> {
        let master = rustix::fs::openat2(
            devpts,
            "ptmx",
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
            rustix::fs::ResolveFlags::BENEATH
                | rustix::fs::ResolveFlags::NO_XDEV
                | rustix::fs::ResolveFlags::NO_SYMLINKS,
        )?;
        if rustix::fs::fstat(&master)?.st_rdev != makedev(5, 2) {
            return Ok(None);
        }
        rustix::pty::unlockpt(&master)?;
        // Not by its path: the container decides what that path is.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size)?;
        Ok(Some((master, slave)))
    };
    let opened = open().step(FailureKind::Internal, step, "/dev/pts/ptmx")?;
    opened.ok_or_else(|| refused(FailureKind::Internal, step, "/dev/pts/ptmx", "it is not the terminal multiplexer"))
}

impl Dev {
    /// Shows the main terminal at `/dev/console`.
    pub fn bind_console(&self, slave: &OwnedFd) -> Outcome<()> {
        let bind = || -> std::io::Result<()> {
            // The first terminal of a new instance has the number 0; nobody else was here yet.
            let mount = copy_of_entry(self.devpts.as_fd(), "0")?;
            if rustix::fs::fstat(&mount)?.st_rdev != rustix::fs::fstat(slave)?.st_rdev {
                return Err(Errno::STALE.into());
            }
            rustix::fs::mknodat(&self.tmpfs, "console", FileType::RegularFile, Mode::from_raw_mode(0o600), 0)?;
            attach(mount.as_fd(), refer(&self.tmpfs, "console")?.as_fd())
        };
        bind().step(FailureKind::MountFailed, "bind the terminal", "/dev/console")
    }

    /// A detached mount of our own `/dev/null`, checked to be the device that discards.
    pub fn null_mount(&self) -> rustix::io::Result<OwnedFd> {
        let mount = copy_of_entry(self.tmpfs.as_fd(), "null")?;
        let status = rustix::fs::fstat(&mount)?;
        let is_null =
            FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == makedev(1, 3);
        if is_null { Ok(mount) } else { Err(Errno::NODEV) }
    }
}
