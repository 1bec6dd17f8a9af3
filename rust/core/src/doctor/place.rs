//! The file system that the engine's state is on.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RawDir, StatVfsMountFlags};
use rustix::io::Errno;

use super::Feature;

const OVERLAY: u64 = 0x794c_7630;
const NFS: u64 = 0x6969;
const SMB2: u64 = 0xfe53_4d42;
const FUSE: u64 = 0x6573_5546;
const ELSEWHERE: &str = "keep the state on a local ext4, xfs or btrfs (`PYRUST_CTR_ROOT`)";
const LEAST_FREE_BYTES: u64 = 1 << 30;

pub fn features(state_dir: &Path) -> Vec<Feature> {
    let place = nearest_existing(state_dir);
    vec![kind(&place), attributes(&place), entry_types(&place), options(&place), space(&place)]
}

/// The directory, or what would become its parent.
fn nearest_existing(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/")).to_path_buf()
}

fn kind(place: &Path) -> Feature {
    let name = "state directory";
    let kind = match rustix::fs::statfs(place) {
        Ok(status) => status.f_type as u64 & 0xffff_ffff,
        Err(cause) => {
            return Feature::required(name, false, format!("cannot look at `{}`: {cause}", place.display()), ELSEWHERE);
        }
    };
    let trouble = match kind {
        OVERLAY => Some("an overlay, which cannot hold the writable layer of another one"),
        NFS | SMB2 => Some("a network file system, which cannot hold writable layers"),
        FUSE => Some("a FUSE file system, which usually cannot hold writable layers"),
        _ => None,
    };
    let detail = trouble.map_or_else(
        || format!("`{}` is on a local file system (type {kind:#x})", place.display()),
        |trouble| format!("`{}` is on {trouble}", place.display()),
    );
    Feature::required(name, trouble.is_none(), detail, ELSEWHERE)
}

fn attributes(place: &Path) -> Feature {
    let name = "extended attributes";
    // Asking for one that is not there tells whether there could be one, and whether this user may see it.
    let mut buffer = [0_u8; 16];
    let (is_there, detail) = match rustix::fs::getxattr(place, "trusted.overlay.opaque", &mut buffer) {
        Ok(_) | Err(Errno::NODATA | Errno::RANGE) => (true, "`trusted.*` is there".to_owned()),
        Err(Errno::OPNOTSUPP) => (false, "the file system has no `trusted.*`".to_owned()),
        Err(cause) => (false, format!("`trusted.*` cannot be used: {cause}")),
    };
    Feature::required(name, is_there, detail, ELSEWHERE)
}

fn entry_types(place: &Path) -> Feature {
    let name = "types in directory entries";
    let remedy = "make the file system anew with types in directory entries (xfs: `-n ftype=1`)";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(place, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(cause) => return Feature::required(name, false, format!("cannot be read: {cause}"), remedy),
    };
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut is_known = true;
    while let Some(Ok(entry)) = entries.next() {
        is_known &= entry.file_type() != rustix::fs::FileType::Unknown;
    }
    let detail = if is_known { "are there" } else { "are missing, and overlayfs needs them" };
    Feature::required(name, is_known, detail, remedy)
}

fn options(place: &Path) -> Feature {
    let flags = rustix::fs::statvfs(place).map_or(StatVfsMountFlags::empty(), |status| status.f_flag);
    let troubles: Vec<&str> = [
        (StatVfsMountFlags::RDONLY, "read-only"),
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect();
    let detail = if troubles.is_empty() {
        "nothing in the way".to_owned()
    } else {
        format!("mounted {}, which containers inherit", troubles.join(", "))
    };
    Feature::required("mount options of the state directory", troubles.is_empty(), detail, ELSEWHERE)
}

fn space(place: &Path) -> Feature {
    let free = rustix::fs::statvfs(place).map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize));
    let detail = format!("{} MiB free", free >> 20);
    Feature::optional("free space", free >= LEAST_FREE_BYTES, detail, "make room: images need about a gigabyte")
}
