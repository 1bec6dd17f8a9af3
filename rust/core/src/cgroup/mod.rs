//! Control groups: what the machine has, a container's plan, and cleaning up after a shim that died.
//!
//! Every container has one directory a hierarchy, `<mount>/pyrust-ctr/<container id>`. The shim makes and removes them as
//! [`ctr_spec::CgroupPlan`] says; here is also the way for whoever finds a container without its shim.

mod device_program;
mod hierarchies;
mod leftovers;
mod limits;
mod number_list;
mod plan;

pub use device_program::device_program;
pub use hierarchies::{Hierarchies, V1Hierarchy, V2Hierarchy, host};
pub use leftovers::{kill_leftovers, remove_leftovers};
pub use plan::plan;

/// Directory below each hierarchy's mount that holds the containers'.
pub const PARENT: &str = "pyrust-ctr";
