//! Starting a program that is nobody's child, at a cost that does not grow with the caller's memory.
//!
//! ```text
//! caller ── clone(VM|VFORK, no exit signal) ──► intermediate ── clone(VM|VFORK) ──► the program
//!        ◄─ waitpid(__WALL) of the intermediate ─ _exit                              reparented, reaped by init
//! ```
//!
//! Both children borrow the caller's memory while the caller's thread is suspended (`CLONE_VFORK`), so nothing is copied
//! and the outcome is told through a shared variable. The intermediate has no exit signal: the application around us gets
//! no `SIGCHLD`, and its own `wait(-1)` never sees a foreign child.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};

use crate::call::retry;

const STACK_BYTES: usize = 64 << 10;
const GUARD_BYTES: usize = 4 << 10;
/// Where the control socket appears in the new program.
pub const CONTROL_FD: RawFd = 3;

/// What both children need; lives on the caller's stack while it is suspended.
struct Launch {
    executable: RawFd,
    control: RawFd,
    null: RawFd,
    argv: *const *const c_char,
    envp: *const *const c_char,
    grandchild_stack: *mut c_void,
    pid: AtomicI32,
    errno: AtomicI32,
}

/// Starts `executable` (an open file, for example a sealed memory file) with `control` as descriptor 3, `/dev/null` as
/// 0, 1 and 2, and no other descriptor. Returns its process id; the caller is not its parent and cannot wait for it.
/// The program begins with every signal blocked.
///
/// # Errors
/// What `clone(2)`, `dup(2)` or `execveat(2)` reported.
pub fn spawn_detached(
    executable: BorrowedFd<'_>,
    argv: &[&CStr],
    env: &[&CStr],
    control: BorrowedFd<'_>,
) -> io::Result<u32> {
    let argv = pointers(argv);
    let envp = pointers(env);
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let stacks = Stacks::new()?;
    let launch = Launch {
        executable: executable.as_raw_fd(),
        control: control.as_raw_fd(),
        null: null.as_raw_fd(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        grandchild_stack: stacks.top(1),
        pid: AtomicI32::new(0),
        errno: AtomicI32::new(0),
    };
    let intermediate = {
        let _blocked = AllSignalsBlocked::new();
        let argument = (&raw const launch).cast_mut().cast();
        // SAFETY: `intermediate` only makes async-signal-safe calls on a stack of its own; CLONE_VFORK suspends this
        // thread until that child has exited, so `launch`, both stacks and the pointer arrays outlive their use. All
        // signals are blocked, so no handler of the application can run in the shared memory.
        let pid = unsafe { libc::clone(intermediate, stacks.top(0), libc::CLONE_VM | libc::CLONE_VFORK, argument) };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        pid
    };
    retry(|| {
        let mut status = 0;
        // SAFETY: `status` is writable; `__WALL` is needed to see a child without an exit signal.
        match unsafe { libc::waitpid(intermediate, &raw mut status, libc::__WALL) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    })?;
    match launch.errno.load(Ordering::SeqCst) {
        0 => Ok(launch.pid.load(Ordering::SeqCst) as u32),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

extern "C" fn intermediate(argument: *mut c_void) -> c_int {
    // SAFETY: the argument is the `Launch` of the suspended caller; only shared references are made.
    let launch = unsafe { &*argument.cast::<Launch>() };
    // SAFETY: as for the first clone: own stack, suspended parent, blocked signals.
    let pid = unsafe { libc::clone(grandchild, launch.grandchild_stack, libc::CLONE_VM | libc::CLONE_VFORK, argument) };
    if pid < 0 {
        launch.errno.store(last_errno(), Ordering::SeqCst);
    } else {
        launch.pid.store(pid, Ordering::SeqCst);
    }
    // SAFETY: leaves without running anything of the shared memory's owner.
    unsafe { libc::_exit(0) }
}

extern "C" fn grandchild(argument: *mut c_void) -> c_int {
    // SAFETY: as in `intermediate`.
    let launch = unsafe { &*argument.cast::<Launch>() };
    // SAFETY: plain system calls on the child's own copy of the descriptor table; the vectors are null-terminated and
    // owned by the suspended caller.
    unsafe {
        // Away from 0..=3 first, so that no descriptor is overwritten before it was used.
        let executable = libc::fcntl(launch.executable, libc::F_DUPFD_CLOEXEC, 10);
        let control = libc::fcntl(launch.control, libc::F_DUPFD_CLOEXEC, 10);
        let null = libc::fcntl(launch.null, libc::F_DUPFD_CLOEXEC, 10);
        let ready = executable >= 0
            && control >= 0
            && null >= 0
            && (0..CONTROL_FD).all(|fd| libc::dup2(null, fd) >= 0)
            && libc::dup2(control, CONTROL_FD) >= 0
            && libc::syscall(libc::SYS_close_range, 4u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0;
        if ready {
            libc::syscall(libc::SYS_execveat, executable, c"".as_ptr(), launch.argv, launch.envp, libc::AT_EMPTY_PATH);
        }
        launch.errno.store(last_errno(), Ordering::SeqCst);
        libc::_exit(127)
    }
}

fn last_errno() -> c_int {
    // SAFETY: the location is valid for the thread; the children share the suspended caller's thread-local storage.
    unsafe { *libc::__errno_location() }
}

/// Two stacks with a guard page below each, in one mapping.
struct Stacks {
    base: *mut c_void,
}

impl Stacks {
    const EACH: usize = GUARD_BYTES + STACK_BYTES;

    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping, nothing is replaced.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), 2 * Self::EACH, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stacks = Self { base };
        for index in 0..2 {
            // SAFETY: the page lies inside the mapping made above.
            if unsafe { libc::mprotect(base.byte_add(index * Self::EACH), GUARD_BYTES, libc::PROT_NONE) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stacks)
    }

    /// One past the end of a stack: stacks grow downwards on every supported architecture.
    fn top(&self, index: usize) -> *mut c_void {
        // SAFETY: at most one past the end of the mapping.
        unsafe { self.base.byte_add((index + 1) * Self::EACH) }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the children that used it are gone or have a memory of their own.
        unsafe { libc::munmap(self.base, 2 * Self::EACH) };
    }
}

/// Blocks every signal of this thread for a scope.
struct AllSignalsBlocked {
    before: libc::sigset_t,
}

impl AllSignalsBlocked {
    fn new() -> Self {
        // SAFETY: both sets are valid; `sigfillset` and `pthread_sigmask` cannot fail with valid arguments.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
            Self { before }
        }
    }
}

impl Drop for AllSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the set saved by `new` on the same thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    fn shell() -> OwnedFd {
        std::fs::File::open("/bin/sh").unwrap().into()
    }

    fn output(control: UnixStream) -> String {
        let mut text = String::new();
        let mut control = control;
        control.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_program_gets_its_arguments_and_four_descriptors() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let script = c"exec 1>&3; echo $1 $A; ls /proc/$$/fd; readlink /proc/$$/fd/0; echo $PPID";
        let pid = spawn_detached(
            shell().as_fd(),
            &[c"sh", c"-c", script, c"sh", c"first"],
            &[c"A=b", c"PATH=/bin:/usr/bin"],
            theirs.as_fd(),
        )
        .unwrap();
        drop(theirs);
        assert!(pid > 1);
        let text = output(ours);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..6], ["first b", "0", "1", "2", "3", "/dev/null"], "{text}");
        assert_ne!(lines[6].parse::<u32>().unwrap(), std::process::id(), "it is not our child");
    }

    #[test]
    fn a_failing_exec_is_told() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"no program").unwrap();
        let error = spawn_detached(file.as_fd(), &[c"x"], &[], theirs.as_fd()).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EACCES | libc::ENOEXEC)), "{error}");
    }

    #[test]
    fn no_child_is_left_for_the_application() {
        let _alone = crate::tests::CHILDREN.lock().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        spawn_detached(shell().as_fd(), &[c"sh", c"-c", c"exit 0"], &[], theirs.as_fd()).unwrap();
        drop(theirs);
        output(ours);
        let mut status = 0;
        // SAFETY: `status` is writable.
        let result = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        assert!(result <= 0, "a foreign child was visible");
    }

    #[test]
    fn control_descriptors_below_four_survive() {
        // A child process of the test harness would be needed to really own 0..3; the duplicates are enough here:
        // whatever number the descriptor has, the program must see it as 3.
        let (ours, theirs) = UnixStream::pair().unwrap();
        for _ in 0..20 {
            let script = c"echo ok >&3";
            spawn_detached(shell().as_fd(), &[c"sh", c"-c", script], &[], theirs.as_fd()).unwrap();
        }
        drop(theirs);
        assert_eq!(output(ours).lines().count(), 20);
    }
}
