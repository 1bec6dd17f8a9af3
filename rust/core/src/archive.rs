//! Unpacking whole archives into a scratch directory (`load`).

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use crate::layer::apply::{Options, Purpose, apply};
use crate::layer::{ApplyLimits, pipeline};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::{Error, ErrorKind, Result};

/// Unpacks the (possibly compressed) archive that `reader` yields into a fresh folder beneath `tmp/` and returns its path;
/// [`Scratch::discard`] ends it. Names are kept as they are, everything belongs to this process, devices and fifos are
/// left out. Kinds as for layers.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "`ApplyLimits` will have more members")]
pub fn unpack_archive(
    scratch: &Arc<Scratch>,
    reader: &mut (dyn Read + Send),
    limits: &ApplyLimits,
    progress: Option<&Progress>,
) -> Result<PathBuf> {
    let folder = scratch.new_folder()?;
    let files = folder.make("files")?;
    let options = Options { purpose: Purpose::Scratch, max_bytes: limits.max_bytes, needs_end_marker: true, progress };
    let work = folder.fd();
    pipeline::run(reader, limits.max_bytes, progress, |source| apply(source, files, work, &options))?;
    Ok(scratch.keep(folder, "files"))
}

/// Opens a regular file beneath `directory` for reading. Symbolic links are followed but may not leave it.
pub fn open_beneath(directory: &Path, path: &Path) -> Result<OwnedFd> {
    let named = |errno: Errno| Error::io("open", &directory.join(path), errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(directory, flags, Mode::empty()).map_err(named)?;
    // Without NONBLOCK a fifo would make the open wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = loop {
        match openat2(&root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno @ (Errno::XDEV | Errno::LOOP)) => return Err(named(errno).with_kind(ErrorKind::HostileArchive)),
            Err(errno @ Errno::NOTDIR) => return Err(named(errno).with_kind(ErrorKind::NotFound)),
            other => break other.map_err(named)?,
        }
    };
    if FileType::from_raw_mode(fstat(&file).map_err(named)?.st_mode) != FileType::RegularFile {
        let message = format!("`{}` of the archive is not a regular file", path.display());
        return Err(Error::new(ErrorKind::MalformedArchive, message));
    }
    Ok(file)
}
