//! The shim's library target holds only what the build of the wheel needs to name.

#![forbid(unsafe_code)]

/// File name of the shim inside the wheel's `_bin` folder.
pub const SHIM_FILE_NAME: &str = "pyrust-ctr-shim";
/// File name of the built-in image's program inside the wheel's `_bin` folder.
pub const HELLO_WORLD_FILE_NAME: &str = "hello-world";
