//! Host side of the engine. Plain blocking code that threads call; it never forks, never enters a namespace and never
//! runs another program than the shim.

#![forbid(unsafe_code)]

pub mod archive;
pub mod cgroup;
pub mod container;
pub mod content;
pub mod doctor;
pub mod error;
pub mod layer;
pub mod progress;
pub mod registry;
pub mod scratch;
pub mod seccomp;

pub use error::{Error, ErrorKind, Result};
