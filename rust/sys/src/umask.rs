//! The file creation mask, which a process's threads share unless one of them leaves.

use rustix::fs::Mode;
use rustix::thread::UnshareFlags;

/// Gives the calling thread a file creation mask (and working directory) of its own and sets the mask to 0. Only for
/// threads that their creator owns and ends: the separation cannot be undone.
///
/// # Errors
/// The kernel's, when a sandbox refuses `unshare(CLONE_FS)`; nothing has changed then.
pub fn clear_for_this_thread() -> std::io::Result<()> {
    // SAFETY: CLONE_FS only copies the mask, the root and the working directory; no memory or descriptor is involved.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS)? };
    rustix::process::umask(Mode::empty());
    Ok(())
}
