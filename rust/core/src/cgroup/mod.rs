//! Control groups: what the machine has, a container's plan, and cleaning up after a shim that died.
//!
//! Every container has one directory a hierarchy, `<mount>/pyrust-ctr-<container id>`, without a shared parent: making and
//! removing that with the first and the last container cost a start more than all other groups. The shim makes and removes them as
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

/// Name of a container's directory below each hierarchy's mount.
#[must_use]
pub fn group_name(id: &str) -> String {
    format!("pyrust-ctr-{id}")
}
