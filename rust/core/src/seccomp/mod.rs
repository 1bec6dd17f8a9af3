//! System call filters: from the built-in profile or a user's to a program that the shim installs with one call.

mod compile;
mod default_profile;
mod policy;
mod profile;
mod syscall_table;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ctr_spec::SeccompSpec;

pub use compile::{Instruction, compile, encode};
pub use default_profile::default_policy;
pub use policy::{Action, Arch, ArgCheck, Comparison, Policy, Rule};
pub use profile::{Circumstances, kernel_version, parse_profile};

use crate::{Error, ErrorKind, Result};

/// Programs by profile text (empty for the built-in one) and capabilities. Compiling takes about a tenth of a
/// millisecond; a start should not pay even that.
static COMPILED: Mutex<Option<Programs>> = Mutex::new(None);

type Programs = HashMap<(String, u64), Arc<OwnedFd>>;

/// Programs kept; a caller with ever new profiles does not grow the cache without bound.
const MAX_CACHED: usize = 64;

/// The filter program of a container in a sealed memfd (`struct sock_filter` array), or `None` when it has none.
///
/// `capabilities` is the process's bounding set. Kinds: `BadSeccompProfile`, `KernelFeatureMissing` on a machine whose
/// architecture has no filter compiler.
pub fn program_fd(spec: &SeccompSpec, capabilities: u64) -> Result<Option<Arc<OwnedFd>>> {
    let key = match spec {
        SeccompSpec::Unconfined => return Ok(None),
        SeccompSpec::Default => (String::new(), capabilities),
        SeccompSpec::Profile { profile } => (profile.to_string(), capabilities),
    };
    let mut guard = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = guard.get_or_insert_default();
    if let Some(fd) = cache.get(&key) {
        return Ok(Some(Arc::clone(fd)));
    }
    let program = compile(&policy_of(spec, capabilities)?)?;
    let memfd = ctr_sys::memfd::sealed(c"pyrust-ctr-seccomp", &encode(&program))
        .map_err(|cause| Error::new(ErrorKind::Io, format!("cannot make a memory file: {cause}")))?;
    let fd = Arc::new(memfd);
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&fd));
    Ok(Some(fd))
}

fn policy_of(spec: &SeccompSpec, capabilities: u64) -> Result<Policy> {
    let native = Arch::NATIVE.ok_or_else(|| {
        Error::new(
            ErrorKind::KernelFeatureMissing,
            format!("system call filters are not available on `{}`; use `seccomp=unconfined`", std::env::consts::ARCH),
        )
    })?;
    if let SeccompSpec::Profile { profile } = spec {
        return parse_profile(profile, Circumstances { capabilities, native, kernel: running_kernel()? });
    }
    let arches = if native == Arch::X86_64 { vec![native, Arch::I386] } else { vec![native] };
    Ok(default_policy(capabilities, &arches))
}

fn running_kernel() -> Result<(u32, u32)> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    let release = std::fs::read_to_string(path).map_err(|cause| Error::io("read", path, cause))?;
    profile::kernel_version(&release).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("the kernel's release `{}` has no version", release.trim()))
    })
}
