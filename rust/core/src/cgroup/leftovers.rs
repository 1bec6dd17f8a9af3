//! The control groups of a container whose shim is gone, found by the container's id alone.

use std::path::{Path, PathBuf};

use super::{Hierarchies, group_name};
use crate::{Error, ErrorKind, Result};

/// Where a container's control groups are, if they are.
fn directories(machine: &Hierarchies, id: &str) -> Result<Vec<PathBuf>> {
    // The id becomes a path: nothing but an id may pass.
    if id.len() != 64 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Error::new(ErrorKind::InvalidArgument, format!("`{id}` is not a container id")));
    }
    let unified = machine.v2.iter().map(|hierarchy| &hierarchy.mount);
    // The unified one first: one write kills everything.
    let mounts = unified.chain(machine.v1.iter().map(|hierarchy| &hierarchy.mount));
    Ok(mounts.map(|mount| Path::new(mount).join(group_name(id))).collect())
}

/// Kills every process that is left in a container's control groups.
pub fn kill_leftovers(machine: &Hierarchies, id: &str) -> Result<()> {
    for directory in directories(machine, id)? {
        ctr_sys::cgroupfs::kill(&directory)
            .map_err(|cause| Error::io("kill the processes of the control group", &directory, cause))?;
    }
    Ok(())
}

/// Removes a container's control groups; nothing there is fine.
pub fn remove_leftovers(machine: &Hierarchies, id: &str) -> Result<()> {
    for directory in directories(machine, id)? {
        ctr_sys::cgroupfs::remove(&directory)
            .map_err(|cause| Error::io("remove the control group", &directory, cause))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::V2Hierarchy;

    #[test]
    fn only_ids_become_paths() {
        let v2 = V2Hierarchy { mount: "/nowhere".into(), controllers: Vec::new() };
        let machine = Hierarchies { v2: Some(v2), ..Hierarchies::default() };
        for id in ["", "../x", "abc", &"g".repeat(64), &"A".repeat(64)] {
            assert_eq!(remove_leftovers(&machine, id).unwrap_err().kind, ErrorKind::InvalidArgument);
        }
        let id = "a".repeat(64);
        kill_leftovers(&machine, &id).unwrap();
        remove_leftovers(&machine, &id).unwrap();
        assert_eq!(directories(&machine, &id).unwrap(), [Path::new("/nowhere").join(format!("pyrust-ctr-{id}"))]);
    }
}
