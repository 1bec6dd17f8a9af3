//! Control groups as a plan: made by the engine without touching the kernel, carried out and removed by the shim.

use serde::{Deserialize, Serialize};

/// Every control group of one container, in the order of their making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupPlan {
    /// Directories; on v1 one a hierarchy, on v2 exactly one, on a hybrid machine the v1 ones and one on v2.
    pub dirs: Vec<CgroupDir>,
    /// eBPF instructions of the device filter for the v2 directory (`BPF_PROG_TYPE_CGROUP_DEVICE`), when devices are
    /// not governed by v1.
    #[serde(default)]
    pub device_program: Option<Vec<u64>>,
}

/// Kernel interface generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupVersion {
    /// One hierarchy a controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// One control group directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupDir {
    /// Interface generation.
    pub version: CgroupVersion,
    /// Controllers that live here (`memory`, `pids` …). On v2: those to be used.
    pub controllers: Vec<String>,
    /// Mount point of the hierarchy, absolute.
    pub mount: String,
    /// A shared parent below the mount, made when missing and removed when empty; the empty string is the mount itself.
    pub parent: String,
    /// Name of the container's own directory below the parent.
    pub name: String,
    /// v2: controllers to enable in the `cgroup.subtree_control` of the mount and of the parent.
    #[serde(default)]
    pub enable: Vec<String>,
    /// Files to write after the directory was made, in order. (A new v1 cpuset and its parent are first filled from above.)
    pub writes: Vec<CgroupWrite>,
}

/// One write into a control group file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupWrite {
    /// File name inside the directory.
    pub file: String,
    /// Bytes to write, one `write(2)`.
    pub value: String,
    /// A refused required write fails the start; another one becomes a warning.
    pub is_required: bool,
}
