//! User, groups and capabilities of the calling thread (single-threaded programs).

use std::io;

use crate::call::check;

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// One past the highest capability number that a 64-bit mask can name.
const CAPABILITY_BITS: u32 = 64;

/// Replaces the supplementary groups.
///
/// # Errors
/// What `setgroups(2)` reported.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and count describe the slice.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Sets real, effective and saved group id.
///
/// # Errors
/// What `setresgid(2)` reported.
pub fn set_group(gid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets real, effective and saved user id. The kernel drops capabilities when root is left, unless they are kept.
///
/// # Errors
/// What `setresuid(2)` reported.
pub fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Whether capabilities survive the next change of the user id (`PR_SET_KEEPCAPS`).
///
/// # Errors
/// What `prctl(2)` reported.
pub fn keep_capabilities(keep: bool) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) }.into()).map(drop)
}

/// Drops every capability outside of `keep` from the bounding set and empties the ambient set.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding_set(keep: u64) -> io::Result<()> {
    for capability in 0..CAPABILITY_BITS {
        if keep & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: no memory is involved.
        let dropped =
            check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }.into());
        match dropped {
            Ok(_) => {}
            // One past the last capability of this kernel.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    // SAFETY: no memory is involved.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }.into()).map(drop)
}

/// Effective, permitted and inheritable capabilities as bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The calling thread's capabilities.
///
/// # Errors
/// What `capget(2)` reported.
pub fn capabilities() -> io::Result<Capabilities> {
    let mut header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes two data elements.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Capabilities {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Replaces the calling thread's capabilities.
///
/// # Errors
/// `EPERM` when something is to be gained.
pub fn set_capabilities(sets: Capabilities) -> io::Result<()> {
    let mut header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let part = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [part(0), part(32)];
    // SAFETY: version 3 reads two data elements.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_capabilities_can_be_read_and_written_back() {
        let own = capabilities().unwrap();
        assert_eq!(own.effective & !own.permitted, 0);
        set_capabilities(own).unwrap();
    }
}
