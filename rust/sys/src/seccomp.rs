//! Installing a system call filter.

use std::io;

use crate::call::check;

/// Bytes of one `struct sock_filter`.
const INSTRUCTION_BYTES: usize = 8;

/// Installs a classic BPF program, given as the bytes of its `struct sock_filter` array, for the calling thread.
/// Needs `no_new_privs` or `CAP_SYS_ADMIN`.
///
/// # Errors
/// `EINVAL` for a malformed program, `EACCES` without the privilege.
pub fn install(program: &[u8]) -> io::Result<()> {
    let count = program.len() / INSTRUCTION_BYTES;
    if program.is_empty() || !program.len().is_multiple_of(INSTRUCTION_BYTES) || count > usize::from(u16::MAX) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // Copied so that the array is aligned.
    let mut instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION_BYTES)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let filter = libc::sock_fprog { len: count as u16, filter: instructions.as_mut_ptr() };
    // SAFETY: `filter` points at `count` valid instructions; the kernel copies and checks them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_programs_are_refused() {
        assert!(install(&[]).is_err());
        assert!(install(&[0; 7]).is_err());
        assert!(install(&[0xff; 8]).is_err());
    }
}
