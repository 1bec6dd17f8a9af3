//! Signal masks, dispositions and the signal descriptor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::call::check;

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: an all-zero set is valid and then made empty; an invalid number is ignored by `sigaddset`.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Blocks exactly `signals`; an empty list unblocks all.
pub fn set_mask(signals: &[i32]) {
    let set = set_of(signals);
    // SAFETY: the set is valid.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
}

/// Gives every signal its default action, as a fresh program expects.
pub fn reset_all() {
    for signal in 1..=64 {
        set_action(signal, libc::SIG_DFL);
    }
}

/// Ignores one signal; what was pending of it is discarded.
pub fn ignore(signal: i32) {
    set_action(signal, libc::SIG_IGN);
}

fn set_action(signal: i32, action: libc::sighandler_t) {
    // The kernel's own structure: libc's sigaction(2) refuses the two signals that glibc keeps for itself (32, 33).
    #[repr(C)]
    struct KernelAction {
        handler: libc::sighandler_t,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let new = KernelAction { handler: action, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: SIG_DFL and SIG_IGN run no code; SIGKILL and SIGSTOP are refused, which is fine.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, &raw const new, ptr::null_mut::<KernelAction>(), 8usize);
    }
}

/// A descriptor that becomes readable when one of `signals` (which the caller has blocked) is pending.
///
/// # Errors
/// What `signalfd4(2)` reported.
pub fn descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = set_of(signals);
    // SAFETY: the set is valid.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The next pending signal of a descriptor made by [`descriptor`]; `None` when there is none.
///
/// # Errors
/// What `read(2)` reported.
pub fn next(descriptor: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut buffer) {
        // `ssi_signo` is the first field.
        Ok(count) if count >= 4 => Ok(Some(i32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]))),
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one of `signals` (blocked by the caller) and takes it.
///
/// # Errors
/// What `sigwaitinfo(2)` reported; interruptions are waited through.
pub fn wait_for(signals: &[i32]) -> io::Result<i32> {
    let set = set_of(signals);
    // SAFETY: the set is valid and no information is asked for.
    crate::call::retry(|| check(unsafe { libc::sigwaitinfo(&raw const set, ptr::null_mut()) }.into()))
        .map(|signal| signal as i32)
}

/// Makes `terminal` the controlling terminal of the calling session leader.
///
/// # Errors
/// What `TIOCSCTTY` reported.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument is an integer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}
