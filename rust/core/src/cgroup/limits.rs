//! Limits as users state them, checked against the machine and turned into writes.

use std::collections::BTreeSet;
use std::fmt::Display;

use ctr_spec::{CgroupWrite, LimitsSpec};

use super::{Hierarchies, number_list};
use crate::{Error, ErrorKind, Result};

const MIN_MEMORY_BYTES: u64 = 6 << 20;
const DEFAULT_PERIOD_US: u64 = 100_000;
const PERIOD_US: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
const MIN_QUOTA_US: u64 = 1_000;
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::LimitRefused, message)
}

/// Checks every limit. Kinds: `InvalidArgument` for values that no machine takes, `LimitRefused` for those that this
/// one cannot give.
pub fn check(machine: &Hierarchies, limits: &LimitsSpec) -> Result<()> {
    check_memory(machine, limits)?;
    check_cpu(machine, limits)?;
    check_list(&machine.cpus, limits.cpuset_cpus.as_deref(), "CPUs", "--cpuset-cpus")?;
    check_list(&machine.memory_nodes, limits.cpuset_mems.as_deref(), "memory nodes", "--cpuset-mems")?;
    let wanted = [
        ("memory", limits.memory_bytes.is_some(), "memory"),
        ("cpu", limits.cpu_quota_us.is_some() || limits.cpu_shares.is_some(), "CPU time"),
        ("cpuset", limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some(), "the choice of CPUs"),
        ("pids", limits.pids.is_some_and(|pids| pids > 0), "the number of processes"),
    ];
    for (controller, is_wanted, what) in wanted {
        if is_wanted && !machine.has(controller) {
            return Err(refused(format!(
                "cannot limit {what}: this machine has no `{controller}` control group controller"
            )));
        }
    }
    Ok(())
}

fn check_memory(machine: &Hierarchies, limits: &LimitsSpec) -> Result<()> {
    let Some(memory) = limits.memory_bytes else {
        return match limits.memory_swap_bytes {
            None | Some(-1 | 0) => Ok(()),
            Some(_) => Err(invalid("a limit on memory plus swap needs a limit on memory beside it".into())),
        };
    };
    if memory < MIN_MEMORY_BYTES {
        return Err(invalid(format!("a memory limit of {memory} bytes is too low: the least is 6 MiB")));
    }
    if i64::try_from(memory).is_err() {
        return Err(invalid(format!("a memory limit of {memory} bytes is too high")));
    }
    match limits.memory_swap_bytes {
        None | Some(0) => Ok(()),
        Some(swap) if swap < -1 => Err(invalid(format!("`{swap}` is not a limit on memory plus swap"))),
        Some(swap) if swap > 0 && (swap as u64) < memory => Err(invalid(format!(
            "the limit on memory plus swap ({swap} bytes) must not be below the limit on memory ({memory} bytes)"
        ))),
        Some(-1) => Ok(()),
        Some(_) if !machine.has_swap_limit => Err(refused(
            "cannot limit swap: this kernel does not account it (boot with `swapaccount=1`), leave the limit out"
                .into(),
        )),
        Some(_) => Ok(()),
    }
}

fn check_cpu(machine: &Hierarchies, limits: &LimitsSpec) -> Result<()> {
    let period = limits.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
    if !PERIOD_US.contains(&period) {
        return Err(invalid(format!("a CPU period of {period} µs is out of range: 1,000 to 1,000,000")));
    }
    if let Some(quota) = limits.cpu_quota_us {
        if quota < MIN_QUOTA_US {
            return Err(invalid(format!("a CPU quota of {quota} µs is too low: the least is 1,000")));
        }
        let present = machine.cpus.len() as u64;
        if present > 0 && quota > present.saturating_mul(period) {
            let noun = if present == 1 { "CPU" } else { "CPUs" };
            return Err(refused(format!("cannot give more CPU time than this machine's {present} {noun}")));
        }
    }
    match limits.cpu_shares {
        Some(shares) if !SHARES.contains(&shares) => {
            Err(invalid(format!("`{shares}` CPU shares are out of range: 2 to 262,144")))
        }
        _ => Ok(()),
    }
}

fn check_list(present: &BTreeSet<u32>, wanted: Option<&str>, what: &str, option: &str) -> Result<()> {
    let Some(text) = wanted else { return Ok(()) };
    let numbers = number_list::parse(text)
        .filter(|numbers| !numbers.is_empty())
        .ok_or_else(|| invalid(format!("`{text}` is not a list of {what} such as `0-2,5` ({option})")))?;
    if numbers.is_subset(present) {
        return Ok(());
    }
    Err(refused(format!("cannot use the {what} `{text}`: this machine has {}", list(present))))
}

/// A set in the kernel's list form, one number or range at a time.
pub fn list(numbers: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some(range) if range.1 + 1 == number => range.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    let show = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

/// Total of memory and swap as Docker means it: `None` is unlimited, absent is twice the memory.
fn memory_and_swap(memory: u64, swap: Option<i64>) -> Option<u64> {
    match swap {
        Some(-1) => None,
        None | Some(0) => Some(memory.saturating_mul(2).min(i64::MAX as u64)),
        Some(total) => u64::try_from(total).ok(),
    }
}

/// The writes of one controller on v1.
pub fn v1_writes(machine: &Hierarchies, controller: &str, limits: &LimitsSpec) -> Vec<CgroupWrite> {
    let mut writes = Vec::new();
    match controller {
        "memory" => {
            if let Some(memory) = limits.memory_bytes {
                writes.push(required("memory.limit_in_bytes", memory));
                let is_explicit = limits.memory_swap_bytes.is_some_and(|swap| swap > 0);
                if let Some(total) =
                    memory_and_swap(memory, limits.memory_swap_bytes).filter(|_| machine.has_swap_limit)
                {
                    writes.push(write("memory.memsw.limit_in_bytes", total, is_explicit));
                }
            }
        }
        "cpu" => {
            // The period first: a quota is checked against it.
            if let Some(period) = limits.cpu_period_us {
                writes.push(required("cpu.cfs_period_us", period));
            }
            if let Some(quota) = limits.cpu_quota_us {
                writes.push(required("cpu.cfs_quota_us", quota));
            }
            if let Some(shares) = limits.cpu_shares {
                writes.push(required("cpu.shares", shares));
            }
        }
        "cpuset" => writes.extend(cpuset_writes(limits)),
        "pids" => writes.extend(pids_write(limits)),
        _ => {}
    }
    writes
}

/// The writes of one controller on v2.
pub fn v2_writes(controller: &str, limits: &LimitsSpec) -> Vec<CgroupWrite> {
    let mut writes = Vec::new();
    match controller {
        "memory" => {
            if let Some(memory) = limits.memory_bytes {
                writes.push(required("memory.max", memory));
                let is_explicit = limits.memory_swap_bytes.is_some_and(|swap| swap > 0);
                if let Some(total) = memory_and_swap(memory, limits.memory_swap_bytes) {
                    writes.push(write("memory.swap.max", total.saturating_sub(memory), is_explicit));
                }
            }
        }
        "cpu" => {
            let period = limits.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
            if let Some(quota) = limits.cpu_quota_us {
                writes.push(required("cpu.max", format!("{quota} {period}")));
            }
            if let Some(shares) = limits.cpu_shares {
                writes.push(required("cpu.weight", weight_of_shares(shares)));
            }
        }
        "cpuset" => writes.extend(cpuset_writes(limits)),
        "pids" => writes.extend(pids_write(limits)),
        _ => {}
    }
    writes
}

fn cpuset_writes(limits: &LimitsSpec) -> Vec<CgroupWrite> {
    let cpus = limits.cpuset_cpus.iter().map(|cpus| required("cpuset.cpus", cpus));
    cpus.chain(limits.cpuset_mems.iter().map(|nodes| required("cpuset.mems", nodes))).collect()
}

fn pids_write(limits: &LimitsSpec) -> Option<CgroupWrite> {
    limits.pids.filter(|pids| *pids > 0).map(|pids| required("pids.max", pids))
}

/// v1 shares (2 to 262,144, usually 1,024) as a v2 weight (1 to 10,000, usually 100): the quadratic through these three
/// points in the logarithms, as container runtimes agreed on.
fn weight_of_shares(shares: u64) -> u64 {
    #[allow(clippy::cast_precision_loss, reason = "at most 262,144")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // The tolerance keeps the three exact points exact.
    (10_f64.powf(exponent) - 1e-6).ceil().clamp(1.0, 10_000.0) as u64
}

#[allow(clippy::needless_pass_by_value, reason = "called with numbers and texts alike")]
fn required(file: &str, value: impl Display) -> CgroupWrite {
    write(file, value, true)
}

#[allow(clippy::needless_pass_by_value, reason = "called with numbers and texts alike")]
fn write(file: &str, value: impl Display, is_required: bool) -> CgroupWrite {
    CgroupWrite { file: file.into(), value: value.to_string(), is_required }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1_024, 262_144].map(weight_of_shares), [1, 100, 10_000]);
        assert!(weight_of_shares(512) < 100 && weight_of_shares(2_048) > 100);
    }

    #[test]
    fn sets_are_shown_in_list_form() {
        assert_eq!(list(&BTreeSet::from([0, 1, 2, 5, 7, 8])), "0-2,5,7-8");
        assert_eq!(list(&BTreeSet::new()), "");
    }
}
