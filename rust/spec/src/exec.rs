//! A further process in a running container.

use serde::{Deserialize, Serialize};

use crate::ProcessSpec;

/// What `exec` runs. Streams are descriptors sent beside it; with `terminal`, the shim answers with the master side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// [`crate::SPEC_VERSION`].
    pub version: u32,
    /// 64 lower-case hexadecimal digits.
    pub id: String,
    /// The program. Its working directory must exist.
    pub process: ProcessSpec,
    /// Terminal size (rows, columns) when the program gets a pseudo terminal.
    #[serde(default)]
    pub terminal: Option<(u16, u16)>,
    /// No seccomp filter and every device (privileged exec).
    #[serde(default)]
    pub is_privileged: bool,
    /// Time after which the exec and every process it left behind are killed, milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}
