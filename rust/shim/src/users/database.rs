//! `/etc/passwd` and `/etc/group` of the container.

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::MAX_ID;
use crate::rootfs::Root;

/// Larger files are not read: the image decides what lies there.
const MAX_BYTES: usize = 1 << 20;

/// One line of `/etc/passwd`.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// One line of `/etc/group`.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// Both files; malformed lines are left out.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    pub(super) users: Vec<User>,
    pub(super) groups: Vec<Group>,
}

/// Reads both files beneath the root. What is missing, not a regular file or too large counts as empty.
pub fn read(root: &Root) -> Accounts {
    Accounts::parse(&text(root, "etc/passwd").unwrap_or_default(), &text(root, "etc/group").unwrap_or_default())
}

fn text(root: &Root, path: &str) -> Option<String> {
    // Non-blocking: a named pipe in this place must not hold us up.
    let file = root.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
    let status = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || status.st_size as usize > MAX_BYTES {
        return None;
    }
    let mut bytes = vec![0; MAX_BYTES.min(status.st_size as usize)];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::read(&file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= MAX_ID)
}

impl Accounts {
    /// Reads the text forms (`passwd(5)`, `group(5)`).
    pub fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
            Some(User { name: name.into(), uid: number(uid)?, gid: number(gid)?, home: home.into() })
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, ref rest @ ..] = fields[..] else { return None };
            let members = rest.first().map_or_else(Vec::new, |list| list.split(',').map(str::to_owned).collect());
            Some(Group { name: name.into(), gid: number(gid)?, members })
        });
        Self { users: users.collect(), groups: groups.collect() }
    }
}
