//! Containers as the engine handles them: one directory, one shim, one verb a file.
//!
//! Nothing here is the container's parent. Whoever holds the directory can talk to the shim through its socket, and the
//! truth is in three places that survive everybody: the lock (a shim lives), `started.json`, `exit.json`.

mod attach;
mod borrowed;
mod connection;
mod create;
mod directory;
mod exec;
mod failure;
mod interrupt;
mod probe;
mod pump;
mod remove;
mod repair;
mod run;
mod session;
mod shim_program;
mod signal;
mod spare;
mod spec_check;
mod start;
mod wait;

pub use attach::attach;
pub use borrowed::duplicate;
pub use create::create;
pub use exec::{ExecOutcome, ExecStreams, exec, exec_capture};
pub use failure::sentence;
pub use interrupt::{Interrupt, never};
pub use probe::{ContainerState, Probe, probe};
pub use remove::remove;
pub use repair::repair;
pub use run::{RunOutcome, run};
pub use session::{Attachment, Session, StartedContainer, StartedExec};
pub use shim_program::set_shim;
pub use signal::{resize, signal};
pub use spare::release as release_spare_shims;
pub use start::{StartStreams, start};
pub use wait::wait;
