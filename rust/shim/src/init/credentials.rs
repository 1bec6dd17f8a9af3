//! Giving up privileges: bounding set, filter, groups, user, capabilities; nothing of it can be taken back.

use ctr_spec::{FailureKind, ProcessSpec};
use ctr_sys::credentials::{
    Capabilities, capabilities, limit_bounding_set, set_capabilities, set_group, set_groups, set_user,
};

use crate::failure::{Outcome, Step};
use crate::users::Identity;

/// Puts the identity and the capabilities of the program on.
pub fn assume(process: &ProcessSpec, identity: &Identity, seccomp: Option<&[u8]>) -> Outcome<()> {
    let step = "give up privileges";
    limit_bounding_set(process.capabilities).step(FailureKind::Internal, step, "bounding set")?;
    // Without no_new_privs the filter needs CAP_SYS_ADMIN, so it comes before the capabilities go.
    if !process.no_new_privileges {
        install(seccomp)?;
    }
    set_groups(&identity.groups).step(FailureKind::Internal, step, "supplementary groups")?;
    set_group(identity.gid).step(FailureKind::Internal, step, &identity.gid.to_string())?;
    set_user(identity.uid).step(FailureKind::Internal, step, &identity.uid.to_string())?;
    // What the supervisor itself does not have cannot be given; inheritable is always empty.
    let own = capabilities().step(FailureKind::Internal, step, "capabilities")?;
    let kept = if identity.uid == 0 { process.capabilities & own.permitted } else { 0 };
    let sets = Capabilities { effective: kept, permitted: kept, inheritable: 0 };
    set_capabilities(sets).step(FailureKind::Internal, step, "capabilities")?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).step(FailureKind::Internal, "set no_new_privs", "")?;
        install(seccomp)?;
    }
    Ok(())
}

fn install(seccomp: Option<&[u8]>) -> Outcome<()> {
    seccomp.map_or(Ok(()), |program| {
        ctr_sys::seccomp::install(program).step(FailureKind::KernelFeatureMissing, "install the system call filter", "")
    })
}
