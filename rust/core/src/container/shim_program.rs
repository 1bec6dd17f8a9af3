//! The shim's executable, copied once into a sealed memory file: no container can ever write to what is executed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, ErrorKind, Result};

enum Program {
    Unset,
    Named(PathBuf),
    Loaded(PathBuf, Arc<OwnedFd>),
}

static PROGRAM: Mutex<Program> = Mutex::new(Program::Unset);

/// Names the shim's executable. It is read at the first start.
pub fn set_shim(path: &Path) {
    let mut program = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(&*program, Program::Loaded(known, _) if known == path) {
        *program = Program::Named(path.to_path_buf());
    }
}

/// The sealed copy.
pub fn executable() -> Result<Arc<OwnedFd>> {
    let mut program = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner);
    let path = match &*program {
        Program::Loaded(_, fd) => return Ok(Arc::clone(fd)),
        Program::Named(path) => path.clone(),
        Program::Unset => {
            return Err(Error::new(ErrorKind::Internal, "the shim's executable was not named before a start"));
        }
    };
    let bytes = std::fs::read(&path).map_err(|cause| Error::io("read the shim", &path, cause))?;
    let memfd = ctr_sys::memfd::sealed(c"pyrust-ctr-shim", &bytes)
        .map_err(|cause| Error::io("make a memory file of", &path, cause))?;
    let fd = Arc::new(memfd);
    *program = Program::Loaded(path, Arc::clone(&fd));
    Ok(fd)
}
