//! What control group hierarchies the machine has; looked at once a process.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use super::number_list;
use crate::{Error, Result};

/// A v1 hierarchy with at least one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Hierarchy {
    /// Mount point.
    pub mount: String,
    /// Its controllers; several when they are mounted together (`cpu,cpuacct`).
    pub controllers: Vec<String>,
}

/// The unified hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Hierarchy {
    /// Mount point.
    pub mount: String,
    /// Controllers that may be used (`cgroup.controllers` of the mount).
    pub controllers: Vec<String>,
}

/// The hierarchies and the numbers that limits are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// v1 hierarchies in mount order.
    pub v1: Vec<V1Hierarchy>,
    /// The unified one.
    pub v2: Option<V2Hierarchy>,
    /// CPUs that are online.
    pub cpus: BTreeSet<u32>,
    /// Memory nodes that are online.
    pub memory_nodes: BTreeSet<u32>,
    /// Memory plus swap can be limited (`memory.memsw.limit_in_bytes`, `memory.swap.max`).
    pub has_swap_limit: bool,
}

const V1_CONTROLLERS: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
const USUAL_MOUNT: &str = "/sys/fs/cgroup";

impl Hierarchies {
    /// `v1`, `v2`, `hybrid`, or `none`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match (self.v1.is_empty(), &self.v2) {
            (false, Some(_)) => "hybrid",
            (false, None) => "v1",
            (true, Some(_)) => "v2",
            (true, None) => "none",
        }
    }

    /// The v1 hierarchy of a controller.
    #[must_use]
    pub fn v1_of(&self, controller: &str) -> Option<&V1Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    /// Whether a controller is governed by the unified hierarchy.
    #[must_use]
    pub fn is_on_v2(&self, controller: &str) -> bool {
        self.v1_of(controller).is_none()
            && self.v2.as_ref().is_some_and(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    /// Whether a controller is anywhere.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.v1_of(controller).is_some() || self.is_on_v2(controller)
    }
}

/// This machine's hierarchies, found at the first call.
pub fn host() -> Result<&'static Hierarchies> {
    static FOUND: OnceLock<Hierarchies> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let found = detect()?;
    Ok(FOUND.get_or_init(|| found))
}

fn detect() -> Result<Hierarchies> {
    let is_pure_v2 = rustix::fs::statfs(USUAL_MOUNT).is_ok_and(|status| status.f_type as u64 == CGROUP2_SUPER_MAGIC);
    let mut found = if is_pure_v2 {
        let v2 = V2Hierarchy { mount: USUAL_MOUNT.into(), controllers: Vec::new() };
        Hierarchies { v2: Some(v2), ..Hierarchies::default() }
    } else {
        let path = Path::new("/proc/self/mountinfo");
        parse_mountinfo(&std::fs::read_to_string(path).map_err(|cause| Error::io("read", path, cause))?)
    };
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    if let Some(v2) = &mut found.v2 {
        let text = read(&Path::new(&v2.mount).join("cgroup.controllers"));
        v2.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
    }
    found.cpus = number_list::parse(&read(Path::new("/sys/devices/system/cpu/online"))).unwrap_or_default();
    found.memory_nodes = number_list::parse(&read(Path::new("/sys/devices/system/node/online"))).unwrap_or_default();
    if found.memory_nodes.is_empty() {
        found.memory_nodes.insert(0);
    }
    found.has_swap_limit = match found.v1_of("memory") {
        Some(memory) => Path::new(&memory.mount).join("memory.memsw.limit_in_bytes").exists(),
        // The root of the unified hierarchy has no limit files; swap accounting is always compiled in with it.
        None => found.is_on_v2("memory"),
    };
    Ok(found)
}

/// The hierarchies in a `mountinfo` (`proc_pid_mountinfo(5)`); the first mount of each counts.
fn parse_mountinfo(text: &str) -> Hierarchies {
    let mut found = Hierarchies::default();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(mount), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        let mount = unescape(mount);
        if kind == "cgroup2" && found.v2.is_none() {
            found.v2 = Some(V2Hierarchy { mount, controllers: Vec::new() });
        } else if kind == "cgroup" {
            let controllers: Vec<String> =
                options.split(',').filter(|option| V1_CONTROLLERS.contains(option)).map(str::to_owned).collect();
            let is_new = controllers.first().is_some_and(|first| found.v1_of(first).is_none());
            if is_new {
                found.v1.push(V1Hierarchy { mount, controllers });
            }
        }
    }
    found
}

/// Undoes `mountinfo`'s `\040` for a space and the like.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 / /mnt/a\\040copy rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified\\040two rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_hybrid_machine_is_recognised() {
        let found = parse_mountinfo(HYBRID);
        assert_eq!(found.version(), "hybrid");
        assert_eq!(found.v1.len(), 2);
        assert_eq!(found.v1_of("cpuacct").unwrap().mount, "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(found.v1_of("memory").unwrap().mount, "/sys/fs/cgroup/memory");
        assert_eq!(found.v2.unwrap().mount, "/sys/fs/cgroup/unified two");
    }

    #[test]
    fn machines_with_one_version_are_recognised() {
        let only = |word: &str| HYBRID.lines().filter(|line| line.contains(word)).collect::<Vec<_>>().join("\n");
        assert_eq!(parse_mountinfo(&only(" cgroup2 ")).version(), "v2");
        assert_eq!(parse_mountinfo(&only("cpuacct")).version(), "v1");
        assert_eq!(parse_mountinfo("").version(), "none");
    }

    #[test]
    fn this_machine_has_processors() {
        assert!(!host().unwrap().cpus.is_empty());
    }
}
