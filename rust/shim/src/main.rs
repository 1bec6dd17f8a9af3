//! Supervisor of one container. It is started with the control socket as descriptor 3 and nothing else; it outlives its
//! starter, and ends when the container has ended and everything it made is cleaned away.

#![forbid(unsafe_code)]

mod cgroup;
mod clock;
mod exec;
mod failure;
mod init;
mod launch;
mod namespaces;
mod request;
mod rootfs;
mod streams;
mod supervisor;
mod users;

use std::os::fd::AsFd;

use ctr_spec::ShimReply;

fn main() {
    if become_supervisor().is_err() {
        return;
    }
    let Some(control) = ctr_sys::fds::take_inherited(ctr_sys::spawn::CONTROL_FD) else { return };
    if !request::arrives(control.as_fd()) {
        return;
    }
    let (request, descriptors) = match request::receive_start(control.as_fd()) {
        Ok(Some(received)) => received,
        // Whoever started us went away without a word.
        Ok(None) => return,
        Err(failure) => {
            let _ = request::reply(control.as_fd(), &ShimReply::Failed { failure }, &[]);
            return;
        }
    };
    // For `ps`: whose supervisor this is.
    let name = request.spec.id.bytes().take(12).filter(|byte| *byte != 0).collect();
    let _ = std::ffi::CString::new::<Vec<u8>>(name).map(|name| rustix::thread::set_name(&name));
    supervisor::run(control, request, descriptors);
}

/// A process of its own: no terminal, no descriptors of others, no inherited signal settings, not to be traced.
fn become_supervisor() -> std::io::Result<()> {
    ctr_sys::fds::close_from(4, false)?;
    // Refused only for a process that leads its group already.
    let _ = rustix::process::setsid();
    ctr_sys::signals::reset_all();
    for signal in supervisor::IGNORED_SIGNALS {
        ctr_sys::signals::ignore(signal);
    }
    ctr_sys::signals::set_mask(&[supervisor::SIGTERM]);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
