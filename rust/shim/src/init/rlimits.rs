//! `setrlimit`: a wish fails when the machine refuses it, a default is lowered.

use ctr_spec::{FailureKind, Rlimit};
use ctr_sys::process::{resource_limit, set_resource_limit};

use super::program::By;
use super::report::{Report, Reporter};
use crate::failure::{Outcome, Step};

/// Limits of processes and of descriptors, which a process that still has to clone another would run into.
const FELT_BY_CLONE: [u32; 2] = [6, 7];

/// Sets all limits, in their order. For a successor, those that would keep it from being cloned are only raised, which
/// takes privileges; [`lower`] does the rest.
pub fn set(limits: &[Rlimit], by: By, reporter: &Reporter) -> Outcome<()> {
    for limit in limits {
        if by == By::Successor && FELT_BY_CLONE.contains(&limit.resource) {
            let Ok((_, highest)) = resource_limit(limit.resource) else { continue };
            if limit.hard <= highest {
                continue;
            }
        }
        let Err(error) = set_resource_limit(limit.resource, limit.soft, limit.hard) else { continue };
        let shown = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
        let subject = format!("{}={}:{}", limit.name, shown(limit.soft), shown(limit.hard));
        if limit.is_required {
            return Err(error).step(FailureKind::LimitRefused, "set a resource limit", &subject);
        }
        let Ok((_, allowed)) = resource_limit(limit.resource) else { continue };
        let (soft, hard) = (limit.soft.min(allowed), limit.hard.min(allowed));
        set_resource_limit(limit.resource, soft.min(hard), hard).step(
            FailureKind::LimitRefused,
            "set a resource limit",
            &subject,
        )?;
        let text = format!("the default limit `{subject}` was lowered to {}: {error}", shown(allowed));
        reporter.send(&Report::Warning { text }, &[]);
    }
    Ok(())
}

/// Lowers, in the successor, the limits that [`set`] left as they were.
pub fn lower(limits: &[Rlimit]) -> Outcome<()> {
    for limit in limits.iter().filter(|limit| FELT_BY_CLONE.contains(&limit.resource)) {
        let Ok((_, highest)) = resource_limit(limit.resource) else { continue };
        set_resource_limit(limit.resource, limit.soft.min(highest), limit.hard.min(highest)).step(
            FailureKind::LimitRefused,
            "set a resource limit",
            &limit.name,
        )?;
    }
    Ok(())
}
