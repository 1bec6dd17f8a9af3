//! Hard and symbolic links.

use rustix::fs::{AtFlags, FileType, linkat, statat, symlinkat};
use rustix::io::Errno;

use super::super::tar::{ByteSource, Entry, display, hostile, malformed};
use super::name::CleanPath;
use super::whiteout::is_whiteout;
use super::{Applier, failure};
use crate::{Error, Result};

impl<S: ByteSource> Applier<'_, S> {
    /// Makes a hard link. Its target must be in this very layer: a layer knows nothing of its parents, and no engine
    /// writes other links. Owner, mode and time are the target's.
    pub(super) fn make_hard_link(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        let mut target = CleanPath::default();
        target.assign(&entry.link, "hard link target")?;
        if target.is_root() {
            return Err(not_here(entry));
        }
        // Both parents stay in the cache: it holds more than two directories.
        self.parent(path, &entry.path)?;
        let from = match self.root.directory(target.parent()) {
            Ok(_) => rustix::io::fcntl_dupfd_cloexec(
                self.root.directory(target.parent()).map_err(|errno| failed(entry, errno))?,
                0,
            )
            .map_err(|errno| failed(entry, errno))?,
            Err(errno) => return Err(self.unreachable_target(entry, &target, errno)),
        };
        let present = match statat(&from, target.leaf(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(present) => present,
            Err(Errno::NOENT) => return Err(not_here(entry)),
            Err(errno) => return Err(failed(entry, errno)),
        };
        if is_whiteout(&present) || FileType::from_raw_mode(present.st_mode) == FileType::Directory {
            return Err(not_here(entry));
        }
        let parent = self.parent(path, &entry.path)?;
        match linkat(&from, target.leaf(), parent, path.leaf(), AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(entry, errno)),
        }
        let other = statat(parent, path.leaf(), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| failed(entry, errno))?;
        if (other.st_dev, other.st_ino) == (present.st_dev, present.st_ino) {
            return Ok(());
        }
        self.remove_present(path, &entry.path)?;
        let parent = self.parent(path, &entry.path)?;
        match linkat(&from, target.leaf(), parent, path.leaf(), AtFlags::empty()) {
            // The target lay beneath the directory that the link replaced.
            Err(Errno::NOENT) => Err(not_here(entry)),
            other => other.map_err(|errno| failed(entry, errno)),
        }
    }

    fn unreachable_target(&mut self, entry: &Entry, target: &CleanPath, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => return not_here(entry),
            Errno::LOOP | Errno::XDEV => {}
            Errno::NOTDIR => {
                // Either a symbolic link as the last parent or a file: only the former is an attack.
                let parent = target.parent();
                let split = parent.iter().rposition(|byte| *byte == b'/');
                let (above, leaf) = split.map_or((&b""[..], parent), |slash| (&parent[..slash], &parent[slash + 1..]));
                let kind = self.root.directory(above).and_then(|above| statat(above, leaf, AtFlags::SYMLINK_NOFOLLOW));
                if !kind.is_ok_and(|present| FileType::from_raw_mode(present.st_mode) == FileType::Symlink) {
                    return not_here(entry);
                }
            }
            errno => return failed(entry, errno),
        }
        let (name, target) = (display(&entry.path), display(&entry.link));
        hostile(format!("the target `{target}` of the hard link `{name}` goes through a symbolic link"))
    }

    /// Makes a symbolic link; where it points is the container's business.
    pub(super) fn make_symlink(&mut self, entry: &Entry, path: &CleanPath) -> Result<()> {
        if entry.link.is_empty() {
            return Err(malformed(format!("the symbolic link `{}` has no target", display(&entry.path))));
        }
        self.make_anew(entry, path, |parent, leaf| symlinkat(entry.link.as_slice(), parent, leaf))?;
        if self.options.purpose == super::Purpose::Scratch {
            return Ok(());
        }
        let maker = self.maker;
        maker.complete_node(self.parent(path, &entry.path)?, path.leaf(), entry, true)
    }
}

fn failed(entry: &Entry, errno: Errno) -> Error {
    failure("link", &entry.path, errno)
}

fn not_here(entry: &Entry) -> Error {
    let (name, target) = (display(&entry.path), display(&entry.link));
    malformed(format!("the hard link `{name}` points to `{target}`, which is no file of this archive"))
}
