//! System calls that rustix lacks, behind safe types. This crate exists so that every other crate may forbid `unsafe`.
//!
//! Nothing here knows what a container is. Wrappers add the safe flags themselves (`CLOEXEC`, `NOFOLLOW`, a new attempt
//! after `EINTR`) and return [`std::io::Error`] with the kernel's number.

pub mod bpf;
pub mod cgroupfs;
pub mod credentials;
pub mod exec;
pub mod fds;
pub mod frame;
pub mod lock;
pub mod loopback;
pub mod memfd;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod seccomp;
pub mod signals;
pub mod spawn;
pub mod tree;
pub mod umask;

mod call;

pub use spawn::spawn_detached;

#[cfg(test)]
mod tests {
    /// Held by tests that have children, or look whether there are any.
    pub(crate) static CHILDREN: std::sync::Mutex<()> = std::sync::Mutex::new(());
}
