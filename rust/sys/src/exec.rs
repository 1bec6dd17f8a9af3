//! Replacing the calling program.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::ptr;

/// Null-terminated vectors for `execve(2)`, made before they are needed.
#[derive(Debug)]
pub struct Vectors {
    // The pointers refer to the strings' heap buffers, which do not move with the vectors.
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Vectors {
    /// Prepares arguments and environment.
    #[must_use]
    pub fn new(arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let argv = arguments.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        let envp = environment.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        let mut strings = arguments;
        strings.extend(environment);
        Self { _strings: strings, argv, envp }
    }

    /// `execve(2)`: returns only when it failed, and with why.
    #[must_use]
    pub fn execute(&self, path: &CStr) -> io::Error {
        // SAFETY: path and both vectors are terminated and alive.
        unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}
