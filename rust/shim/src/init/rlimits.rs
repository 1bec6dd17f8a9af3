//! `setrlimit`: a wish fails when the machine refuses it, a default is lowered.

use ctr_spec::{FailureKind, Rlimit};
use ctr_sys::process::{resource_limit, set_resource_limit};

use super::report::{Report, Reporter};
use crate::failure::{Outcome, Step};

/// Sets all limits, in their order.
pub fn set(limits: &[Rlimit], reporter: &Reporter) -> Outcome<()> {
    for limit in limits {
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
