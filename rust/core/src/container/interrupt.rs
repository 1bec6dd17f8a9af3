//! Waiting that can be interrupted: by a deadline, and by whoever called (a Python thread has to look at its signals).

use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// Asked between waits; an error ends the wait and is passed on.
pub type Interrupt<'a> = &'a mut (dyn FnMut() -> Result<()> + Send);

/// An interrupt that never comes.
pub fn never() -> impl FnMut() -> Result<()> + Send {
    || Ok(())
}

/// A signal may have been delivered to another thread, which does not end a system call of this one.
const SLICE: Duration = Duration::from_millis(100);

/// Waits until a descriptor is ready; `false` when the deadline passed first.
pub fn wait_ready(fds: &mut [PollFd<'_>], deadline: Option<Instant>, interrupt: Interrupt<'_>) -> Result<bool> {
    loop {
        let rest = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = rest.min(SLICE);
        let timeout = Timespec { tv_sec: slice.as_secs().cast_signed(), tv_nsec: i64::from(slice.subsec_nanos()) };
        match poll(fds, Some(&timeout)) {
            Ok(0) if rest <= SLICE && deadline.is_some() => {
                interrupt()?;
                return Ok(false);
            }
            Ok(0) | Err(Errno::INTR) => interrupt()?,
            Ok(_) => return Ok(true),
            Err(cause) => {
                let message = format!("cannot wait for a descriptor: {cause}");
                return Err(Error { errno: Some(cause.raw_os_error()), ..Error::new(ErrorKind::Io, message) });
            }
        }
    }
}

/// The moment after `timeout`; `None` waits for ever.
pub fn deadline_after(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Sleeps for a moment, no longer than until the deadline; `false` when that has passed.
pub fn pause(moment: Duration, deadline: Option<Instant>, interrupt: Interrupt<'_>) -> Result<bool> {
    interrupt()?;
    let rest = deadline.map_or(moment, |deadline| deadline.saturating_duration_since(Instant::now()));
    std::thread::sleep(rest.min(moment));
    Ok(!rest.is_zero())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn deadlines_and_interrupts_end_a_wait() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
        let begin = Instant::now();
        let deadline = deadline_after(Some(Duration::from_millis(30)));
        assert!(!wait_ready(&mut fds, deadline, &mut never()).unwrap());
        assert!(begin.elapsed() >= Duration::from_millis(29));
        let mut cancel = || Err(Error::new(ErrorKind::Cancelled, "enough"));
        assert_eq!(wait_ready(&mut fds, None, &mut cancel).unwrap_err().kind, ErrorKind::Cancelled);
    }
}
