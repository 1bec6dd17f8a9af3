//! The merged view of stacked layers, as overlayfs would show it, without mounting anything.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, readlinkat, statat};
use rustix::io::Errno;

use super::apply::{is_opaque, is_whiteout};
use crate::{Error, ErrorKind, Result};

/// How many symbolic links one path may go through, as in the kernel.
const MAX_LINKS: usize = 40;

/// Layers, topmost first.
pub struct MergedTree {
    layers: Vec<OwnedFd>,
}

/// What a name is in a merged directory.
enum Step {
    Missing,
    /// The directories that are merged, topmost first.
    Directory(Vec<OwnedFd>),
    /// Anything else, and the index of the directory that has it.
    Other(FileType, usize),
}

impl MergedTree {
    /// Opens the directories `layers`, topmost first.
    pub fn open(layers: &[PathBuf]) -> Result<Self> {
        let open = |layer: &PathBuf| {
            open(layer, flags(), Mode::empty()).map_err(|errno| Error::io("open the layer", layer, errno))
        };
        Ok(Self { layers: layers.iter().map(open).collect::<Result<_>>()? })
    }

    /// A tree of one layer.
    pub fn of(layer: OwnedFd) -> Self {
        Self { layers: vec![layer] }
    }

    /// The topmost directory at the clean path `path`, through no symbolic link; `None` when there is none.
    pub fn directory(&self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let mut current = None;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let here = current.as_ref().unwrap_or(&self.layers);
            match step(here, name).map_err(|errno| failed(path, errno))? {
                Step::Directory(next) => current = Some(next),
                Step::Missing | Step::Other(..) => return Ok(None),
            }
        }
        let found = current.unwrap_or_default().into_iter().next();
        found.map_or_else(|| duplicate(&self.layers[0]), Ok).map(Some).map_err(|errno| failed(path, errno))
    }

    /// Whether a directory above `path` (not `path` itself: opaque is about what a directory holds) is opaque.
    pub fn is_hiding_below(&self, path: &[u8]) -> Result<bool> {
        for (index, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if let Some(above) = self.directory(&path[..index])?
                && is_opaque(above.as_fd()).map_err(|errno| failed(path, errno))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A regular file; symbolic links are resolved beneath the root, as they are for a container.
    pub fn read_file(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let failed = |errno| failed(path.as_bytes(), errno);
        let mut pending = components(path.as_bytes());
        let mut links = 0;
        // After each link the walk begins again at the root, with a path that has one link less: only one level of
        // directories is ever open.
        'walk: loop {
            let mut done: Vec<Vec<u8>> = Vec::new();
            let mut levels: Option<Vec<OwnedFd>> = None;
            let mut rest = resolve_dots(&mut pending);
            while let Some(name) = rest.pop_front() {
                if name == b".." {
                    // A link's target that climbs: the path so far is free of links, so this is exact.
                    done.pop();
                    pending = done.into_iter().chain(rest).collect();
                    continue 'walk;
                }
                let here = levels.as_ref().unwrap_or(&self.layers);
                match step(here, &name).map_err(failed)? {
                    Step::Directory(next) => {
                        levels = Some(next);
                        done.push(name);
                    }
                    Step::Other(FileType::Symlink, index) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Ok(None);
                        }
                        let target = readlinkat(&here[index], name.as_slice(), Vec::new()).map_err(failed)?;
                        let target = target.as_bytes();
                        let start = if target.starts_with(b"/") { Vec::new() } else { done };
                        pending = start.into_iter().chain(components(target)).chain(rest).collect();
                        continue 'walk;
                    }
                    Step::Other(FileType::RegularFile, index) if rest.is_empty() => {
                        return read_regular(here[index].as_fd(), &name, path, max_bytes);
                    }
                    Step::Missing | Step::Other(..) => return Ok(None),
                }
            }
            return Ok(None);
        }
    }
}

/// Looks `name` up in a merged directory.
fn step(directories: &[OwnedFd], name: &[u8]) -> Result<Step, Errno> {
    let mut merged = Vec::new();
    for (index, directory) in directories.iter().enumerate() {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if is_whiteout(&stat) {
            break;
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory {
            if merged.is_empty() {
                return Ok(Step::Other(kind, index));
            }
            break;
        }
        let fd = openat(directory, name, flags(), Mode::empty())?;
        let is_last = is_opaque(fd.as_fd())?;
        merged.push(fd);
        if is_last {
            break;
        }
    }
    Ok(if merged.is_empty() { Step::Missing } else { Step::Directory(merged) })
}

fn read_regular(parent: BorrowedFd<'_>, name: &[u8], path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    let io = |cause: std::io::Error| Error::io("read", Path::new(path), cause);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = openat(parent, name, flags, Mode::empty()).map_err(|errno| io(errno.into()))?.into();
    if FileType::from_raw_mode(fstat(&file).map_err(|errno| io(errno.into()))?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut data = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut data).map_err(io)?;
    if data.len() as u64 > max_bytes {
        let message = format!("the image's `{path}` is longer than {max_bytes} bytes");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(Some(data))
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(<[u8]>::to_vec).collect()
}

/// Takes leading `..` away: the root is its own parent.
fn resolve_dots(pending: &mut VecDeque<Vec<u8>>) -> VecDeque<Vec<u8>> {
    let mut rest = std::mem::take(pending);
    while rest.front().is_some_and(|name| name == b"..") {
        rest.pop_front();
    }
    rest
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn failed(path: &[u8], errno: Errno) -> Error {
    Error::io("look at", Path::new(&super::tar::display(path)), errno)
}
