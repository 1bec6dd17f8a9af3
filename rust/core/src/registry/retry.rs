//! How often, and after which pause, a request is sent again.

use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::failure::{Failure, Retry};
use crate::Result;
use crate::progress::Progress;

/// Attempts in all without anything gained.
const MAX_ATTEMPTS: u32 = 5;
/// Attempts when the other side stays silent, each of which lasts the whole time-out.
const MAX_SILENT_ATTEMPTS: u32 = 2;
/// Attempts when nobody listens.
const MAX_REFUSED_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Counts the attempts that gained nothing.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// Something was gained: counting begins anew.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// The pause before the next attempt; None when there is to be none.
    fn pause(&mut self, retry: Retry) -> Option<Duration> {
        self.failed += 1;
        let limit = match retry {
            Retry::Never => return None,
            Retry::Silence => MAX_SILENT_ATTEMPTS,
            Retry::Refused => MAX_REFUSED_ATTEMPTS,
            Retry::BackOff | Retry::After(_) => MAX_ATTEMPTS,
        };
        if self.failed >= limit {
            return None;
        }
        Some(match retry {
            Retry::After(pause) => pause,
            Retry::Refused => with_jitter(REFUSED_PAUSE),
            _ => with_jitter((FIRST_PAUSE * 2_u32.pow(self.failed - 1)).min(LONGEST_PAUSE)),
        })
    }

    /// Waits before the next attempt, or gives the failure's error back when there is to be none.
    pub(crate) fn wait_after(&mut self, failure: Failure, progress: Option<&Progress>) -> Result<()> {
        let Some(pause) = self.pause(failure.retry) else { return Err(failure.error) };
        let end = Instant::now() + pause;
        loop {
            progress.map_or(Ok(()), Progress::check)?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// Between half and all of `pause`, so that many clients do not come back at once.
fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness the pause is merely the same for everyone.
    let _ = SystemRandom::new().fill(&mut byte);
    pause / 2 + pause * u32::from(byte[0]) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(retry: Retry) -> Vec<Duration> {
        let mut attempts = Attempts::default();
        std::iter::from_fn(|| attempts.pause(retry)).collect()
    }

    #[test]
    fn patience_depends_on_the_trouble() {
        assert_eq!(pauses(Retry::Never).len(), 0);
        assert_eq!(pauses(Retry::Silence).len(), 1);
        assert_eq!(pauses(Retry::Refused).len(), 2);
        assert_eq!(pauses(Retry::After(Duration::from_secs(7))), [Duration::from_secs(7); 4]);
        let growing = pauses(Retry::BackOff);
        assert_eq!(growing.len(), 4);
        for (index, pause) in growing.iter().enumerate() {
            let full = FIRST_PAUSE * 2_u32.pow(u32::try_from(index).unwrap());
            assert!(*pause >= full / 2 && *pause <= full, "{pause:?}");
        }
    }

    #[test]
    fn a_cancelled_wait_ends_at_once() {
        let progress = Progress::default();
        progress.cancel();
        let error = crate::Error::new(crate::ErrorKind::RegistryError, "x");
        let failure = Failure { error, retry: Retry::After(Duration::from_secs(30)) };
        let begun = Instant::now();
        let error = Attempts::default().wait_after(failure, Some(&progress)).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
