//! Carrying a control group plan out, and taking every trace of it away again.

mod usage;

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ctr_spec::{CgroupDir, CgroupPlan, CgroupVersion, FailureKind};
use rustix::fs::{Mode, OFlags};

use crate::failure::{Outcome, Step, refused};

/// A parent that another shim just removed is made again this often.
const MAKE_ATTEMPTS: u32 = 20;

/// The control groups of one container.
#[derive(Debug)]
pub struct Cgroups {
    groups: Vec<Group>,
    /// Sentences about writes that the machine refused and that were not required.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
struct Group {
    version: CgroupVersion,
    controllers: Vec<String>,
    /// Name that the hierarchy has below `/sys/fs/cgroup`.
    hierarchy: String,
    mount: PathBuf,
    parent: PathBuf,
    path: PathBuf,
    directory: OwnedFd,
}

/// Descriptors by which a child joins, opened before it is cloned.
#[derive(Debug)]
pub struct Entrance {
    /// `tasks` of the v1 groups. A thread that writes itself there does not wait for the whole machine, as a process that
    /// is written to `cgroup.procs` does (an RCU grace period, about ten milliseconds).
    pub v1: Vec<OwnedFd>,
    /// Directory of the v2 group, for `CLONE_INTO_CGROUP`.
    pub v2: Option<OwnedFd>,
}

/// Where one hierarchy is to be shown to the container.
#[derive(Debug)]
pub struct View {
    /// Directory name below `/sys/fs/cgroup` (`memory`, `cpu,cpuacct`, `unified`).
    pub hierarchy: String,
    /// The container's own group on the host.
    pub path: PathBuf,
    /// Interface generation.
    pub version: CgroupVersion,
    /// Controllers of the hierarchy.
    pub controllers: Vec<String>,
}

/// Makes every group of the plan. When one fails, those made before it are removed.
pub fn make(plan: &CgroupPlan) -> Outcome<Cgroups> {
    let mut cgroups = Cgroups { groups: Vec::new(), warnings: Vec::new() };
    for dir in &plan.dirs {
        if let Err(failure) = cgroups.add(dir) {
            cgroups.remove();
            return Err(failure);
        }
    }
    if let Some(program) = &plan.device_program
        && let Err(failure) = cgroups.filter_devices(program)
    {
        cgroups.remove();
        return Err(failure);
    }
    Ok(cgroups)
}

impl Cgroups {
    fn add(&mut self, dir: &CgroupDir) -> Outcome<()> {
        let plain = |text: &str| !text.is_empty() && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !(dir.parent.is_empty() || plain(&dir.parent))
            || !plain(&dir.name)
            || dir.name.contains('/')
            || !dir.mount.starts_with('/')
        {
            return Err(refused(FailureKind::BadRequest, "make the control group", &dir.name, "a name is not plain"));
        }
        let mount = PathBuf::from(&dir.mount);
        let parent = mount.join(&dir.parent);
        let path = parent.join(&dir.name);
        make_directory(&mount, &parent, &path, dir).step(
            FailureKind::Internal,
            "make the control group",
            &path.to_string_lossy(),
        )?;
        let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = opened.step(FailureKind::Internal, "open the control group", &path.to_string_lossy())?;
        self.groups.push(Group {
            version: dir.version,
            controllers: dir.controllers.clone(),
            hierarchy: mount.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            mount,
            parent,
            path,
            directory,
        });
        let Some(group) = self.groups.last() else { return Ok(()) };
        if dir.version == CgroupVersion::V1 && dir.controllers.iter().any(|name| name == "cpuset") {
            initialise_cpuset(&group.parent, &group.path).step(
                FailureKind::LimitRefused,
                "initialise the cpuset",
                &group.path.to_string_lossy(),
            )?;
        }
        for write in &dir.writes {
            if !plain(&write.file) || write.file.contains('/') {
                return Err(refused(FailureKind::BadRequest, "set a limit", &write.file, "the file name is not plain"));
            }
            let Err(error) = write_at(&group.directory, &write.file, &write.value) else { continue };
            let setting = format!("{}={}", write.file, write.value.trim_end());
            if write.is_required {
                return Err(error).step(FailureKind::LimitRefused, "set a limit", &setting);
            }
            self.warnings.push(format!("the machine refused the control group setting `{setting}`: {error}"));
        }
        Ok(())
    }

    fn filter_devices(&self, program: &[u64]) -> Outcome<()> {
        let step = "attach the device filter";
        let Some(group) = self.groups.iter().find(|group| group.version == CgroupVersion::V2) else {
            return Err(refused(FailureKind::BadRequest, step, "", "there is no v2 control group"));
        };
        let loaded = ctr_sys::bpf::load_device_filter(program).step(
            FailureKind::KernelFeatureMissing,
            "load the device filter",
            "",
        )?;
        ctr_sys::bpf::attach_device_filter(group.directory.as_fd(), loaded.as_fd()).step(
            FailureKind::KernelFeatureMissing,
            step,
            &group.path.to_string_lossy(),
        )
    }

    /// Opens what a child needs to join. With `inner`, it joins a group of that name below the container's own where
    /// a whole tree of processes can be killed: on v2, else in the first v1 hierarchy.
    pub fn entrance(&self, inner: Option<&Path>) -> io::Result<Entrance> {
        let mut entrance = Entrance { v1: Vec::new(), v2: None };
        for group in &self.groups {
            let replaced = inner.filter(|path| path.starts_with(&group.path));
            let path = replaced.unwrap_or(&group.path);
            if group.version == CgroupVersion::V2 {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                entrance.v2 = Some(rustix::fs::open(path, flags, Mode::empty())?);
            } else {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                entrance.v1.push(rustix::fs::open(path.join("tasks"), flags, Mode::empty())?);
            }
        }
        Ok(entrance)
    }

    /// Makes a group below the container's own for one exec, so that its whole tree can be killed.
    pub fn make_inner(&self, name: &str) -> Option<io::Result<PathBuf>> {
        let path = self.killing_group()?.path.join(name);
        Some(fs::create_dir(&path).map(|()| path))
    }

    fn killing_group(&self) -> Option<&Group> {
        let by = |wanted: fn(&Group) -> bool| self.groups.iter().find(|group| wanted(group));
        by(|group| group.version == CgroupVersion::V2)
            .or_else(|| by(|group| group.controllers.iter().any(|name| name == "pids" || name == "freezer")))
            .or_else(|| by(|group| !group.controllers.iter().any(|name| name == "cpuset")))
    }

    /// Whether there is any group by which processes can be found.
    pub fn can_kill(&self) -> bool {
        self.killing_group().is_some()
    }

    /// Kills every process of the container.
    pub fn kill(&self) -> io::Result<()> {
        self.killing_group().map_or(Ok(()), |group| ctr_sys::cgroupfs::kill(&group.path))
    }

    /// Process ids of the whole container.
    pub fn processes(&self) -> Vec<i32> {
        self.killing_group().map_or_else(Vec::new, |group| {
            let mut found = ctr_sys::cgroupfs::processes(&group.path).unwrap_or_default();
            for entry in fs::read_dir(&group.path).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.extend(ctr_sys::cgroupfs::processes(&entry.path()).unwrap_or_default());
                }
            }
            found
        })
    }

    /// What the container is shown of its groups.
    pub fn views(&self) -> Vec<View> {
        self.groups
            .iter()
            .map(|group| View {
                hierarchy: group.hierarchy.clone(),
                path: group.path.clone(),
                version: group.version,
                controllers: group.controllers.clone(),
            })
            .collect()
    }

    /// Removes every group, and the shared parents that are empty then. What stays is somebody else's.
    pub fn remove(&self) {
        for group in self.groups.iter().rev() {
            let _ = ctr_sys::cgroupfs::remove(&group.path);
            let mut parent = group.parent.as_path();
            while parent != group.mount && fs::remove_dir(parent).is_ok() {
                let Some(above) = parent.parent() else { break };
                parent = above;
            }
        }
    }
}

fn make_directory(mount: &Path, parent: &Path, path: &Path, dir: &CgroupDir) -> io::Result<()> {
    for _ in 0..MAKE_ATTEMPTS {
        match fs::create_dir(path) {
            Ok(()) => {
                // Somebody else made the parent, and has not handed them down yet.
                if !lists(&path.join("cgroup.controllers"), &dir.enable) {
                    enable(mount, parent, &dir.enable);
                }
                return Ok(());
            }
            // Another container's shim removed the shared parent in between, or it never was there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !mount.is_dir() {
                    return Err(error);
                }
                fs::create_dir_all(parent)?;
                enable(mount, parent, &dir.enable);
            }
            // Left behind by a shim that was killed: the container's lock is ours now, so nobody else uses it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                ctr_sys::cgroupfs::kill(path)?;
                ctr_sys::cgroupfs::remove(path)?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// v2: whether all of these controllers are named in a group's file.
fn lists(file: &Path, wanted: &[String]) -> bool {
    wanted.is_empty()
        || fs::read_to_string(file).is_ok_and(|text| {
            wanted.iter().all(|name| text.split_ascii_whitespace().any(|controller| controller == name))
        })
}

/// v2: hands controllers down, from the mount to the parent. A refusal shows when a limit that needs the controller is
/// written. A write may wait for groups that are just going away, so there is no more than one a level.
fn enable(mount: &Path, parent: &Path, controllers: &[String]) {
    let mut level = mount.to_path_buf();
    let below = parent.strip_prefix(mount).unwrap_or(Path::new(""));
    for component in std::iter::once(Path::new("").as_os_str()).chain(below) {
        level.push(component);
        let file = level.join("cgroup.subtree_control");
        if lists(&file, controllers) {
            continue;
        }
        let all: Vec<String> = controllers.iter().map(|controller| format!("+{controller}")).collect();
        // One that is refused must not keep the others away.
        if write_file(&file, &all.join(" ")).is_err() {
            for controller in &all {
                let _ = write_file(&file, controller);
            }
        }
    }
}

/// v1: a new cpuset has no CPU and no memory node, and then takes no process.
fn initialise_cpuset(parent: &Path, path: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut value = fs::read_to_string(parent.join(file))?;
        if value.trim().is_empty() {
            let above = parent.parent().unwrap_or(parent);
            value = fs::read_to_string(above.join(file))?;
            write_file(&parent.join(file), value.trim())?;
        }
        write_file(&path.join(file), value.trim())?;
    }
    Ok(())
}

/// Without `O_CREAT`: cgroupfs answers a wish to create with `EACCES`.
fn write_file(file: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

fn write_at(directory: &OwnedFd, file: &str, value: &str) -> io::Result<()> {
    let opened = rustix::fs::openat(directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(opened, value.as_bytes())?;
    Ok(())
}
