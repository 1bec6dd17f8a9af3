//! What the container used, read before its groups are removed.

use std::os::fd::OwnedFd;

use ctr_spec::CgroupVersion;
use rustix::fs::{Mode, OFlags};

use super::Cgroups;

/// Totals of the whole container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Highest memory use, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// CPU time, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Processes killed by the kernel for memory.
    pub oom_kills: u64,
}

impl Cgroups {
    /// Reads the totals; what no controller counts is absent.
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { oom_kills: self.oom_kills(), ..Usage::default() };
        for group in &self.groups {
            let has = |name: &str| group.controllers.iter().any(|controller| controller == name);
            match group.version {
                CgroupVersion::V1 => {
                    if has("memory") {
                        usage.peak_memory_bytes = number(&group.directory, "memory.max_usage_in_bytes");
                    }
                    if has("cpuacct") {
                        usage.cpu_ns = number(&group.directory, "cpuacct.usage");
                    }
                }
                CgroupVersion::V2 => {
                    if has("memory") {
                        usage.peak_memory_bytes = number(&group.directory, "memory.peak");
                    }
                    if usage.cpu_ns.is_none() {
                        usage.cpu_ns = field(&group.directory, "cpu.stat", "usage_usec").map(|micro| micro * 1000);
                    }
                }
            }
        }
        usage
    }

    /// How many processes the kernel has killed for memory so far.
    pub fn oom_kills(&self) -> u64 {
        self.groups
            .iter()
            .filter(|group| group.controllers.iter().any(|name| name == "memory"))
            .filter_map(|group| {
                let file = if group.version == CgroupVersion::V1 { "memory.oom_control" } else { "memory.events" };
                field(&group.directory, file, "oom_kill")
            })
            .max()
            .unwrap_or(0)
    }
}

fn read(directory: &OwnedFd, file: &str) -> Option<String> {
    let opened = rustix::fs::openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = [0u8; 4096];
    let count = rustix::io::read(opened, &mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn number(directory: &OwnedFd, file: &str) -> Option<u64> {
    read(directory, file)?.trim().parse().ok()
}

fn field(directory: &OwnedFd, file: &str, name: &str) -> Option<u64> {
    read(directory, file)?.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name { value.trim().parse().ok() } else { None }
    })
}
