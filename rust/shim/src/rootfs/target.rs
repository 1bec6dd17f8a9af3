//! Finding and making mount targets. An image may hold anything at these paths, also symbolic links to anywhere: every
//! path is resolved by the kernel inside the root (`openat2(2)` with `RESOLVE_IN_ROOT`), and what is missing is made
//! through the descriptor of its resolved parent, one name at a time, never through a link.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Root;

/// What a target has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// `/a/./b/../c` → `a/c`; a target never climbs above the root.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Shape of what a descriptor refers to.
pub fn shape_of(fd: &OwnedFd) -> rustix::io::Result<Shape> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    Ok(if kind == FileType::Directory { Shape::Directory } else { Shape::File })
}

impl Root {
    /// Refers to an existing path inside the root.
    pub fn find(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let path = clean(path);
        let name = if path.is_empty() { "." } else { path.as_str() };
        self.open(name, OFlags::PATH)
    }

    /// Opens a path inside the root with `flags`, following links inside the root only.
    pub fn open(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        loop {
            let opened = rustix::fs::openat2(
                &self.fd,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            // EAGAIN: a rename happened elsewhere on the machine during a step through `..`.
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                return opened;
            }
        }
    }

    /// Refers to a path inside the root, made when it is missing.
    pub fn find_or_make(&self, path: &str, shape: Shape) -> io::Result<OwnedFd> {
        let path = clean(path);
        let found = match self.find(&path) {
            Err(Errno::NOENT) => self.make(&path, shape)?,
            other => other?,
        };
        if shape_of(&found)? == shape {
            return Ok(found);
        }
        Err(if shape == Shape::Directory { Errno::NOTDIR } else { Errno::ISDIR }.into())
    }

    fn make(&self, path: &str, shape: Shape) -> io::Result<OwnedFd> {
        let (mut parent, mut walked) = (self.find("")?, String::new());
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if !walked.is_empty() {
                walked.push('/');
            }
            walked.push_str(name);
            parent = match self.find(&walked) {
                Err(Errno::NOENT) => {
                    if names.peek().is_none() && shape == Shape::File {
                        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
                    } else {
                        // EEXIST here is a link that leads nowhere: it is refused, not followed.
                        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                    }
                    self.find(&walked)?
                }
                other => other?,
            };
        }
        Ok(parent)
    }

    /// A top-level directory of the image that system mounts go to; anything but a real directory is refused.
    pub fn system_directory(&self, name: &str) -> io::Result<OwnedFd> {
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&self.fd, name, flags, Mode::empty())
        };
        match open() {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))?;
                Ok(open()?)
            }
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_cleaned_inside_the_root() {
        assert_eq!(clean("/a/./b//../c/"), "a/c");
        assert_eq!(clean("/../../etc"), "etc");
        assert_eq!(clean("/"), "");
    }

    #[test]
    fn nothing_is_found_or_made_outside_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let directory = tempfile::tempdir().unwrap();
        symlink(outside.path(), directory.path().join("absolute")).unwrap();
        symlink("../../../../../../../..", directory.path().join("up")).unwrap();
        symlink("nowhere", directory.path().join("dangling")).unwrap();
        let root = Root { fd: std::fs::File::open(directory.path()).unwrap().into() };
        root.find_or_make("/absolute/x/y", Shape::Directory).unwrap_err();
        root.find_or_make("/dangling", Shape::File).unwrap_err();
        root.find_or_make("/up/made/here", Shape::Directory).unwrap();
        root.find_or_make("/a/b/file", Shape::File).unwrap();
        root.find_or_make("/a/b/file", Shape::Directory).unwrap_err();
        assert!(directory.path().join("made/here").is_dir());
        assert!(directory.path().join("a/b/file").is_file());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_linked_system_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        symlink("/etc", directory.path().join("proc")).unwrap();
        std::fs::write(directory.path().join("sys"), "").unwrap();
        let root = Root { fd: std::fs::File::open(directory.path()).unwrap().into() };
        root.system_directory("proc").unwrap_err();
        root.system_directory("sys").unwrap_err();
        root.system_directory("dev").unwrap();
    }
}
