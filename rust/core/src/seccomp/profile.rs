//! Reads a profile in Docker's JSON form. Whatever is not understood is refused with its place in the document: a
//! filter that silently lacks a rule is worse than none.

use serde_json::{Map, Value};

use super::policy::{Action, Arch, ArgCheck, Comparison, Policy, Rule};
use crate::{Error, ErrorKind, Result};

const EPERM: u16 = 1;
const MAX_ERRNO: u64 = 4095;

/// What conditions in a profile are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Capabilities of the process (bit n = capability n).
    pub capabilities: u64,
    /// The machine's own architecture.
    pub native: Arch,
    /// Kernel version, major and minor.
    pub kernel: (u32, u32),
}

/// The policy that a profile means under these circumstances. Fails with `BadSeccompProfile`.
pub fn parse_profile(document: &Value, circumstances: Circumstances) -> Result<Policy> {
    let top = Place::top(document).object()?;
    top.only(&["defaultAction", "defaultErrnoRet", "archMap", "architectures", "syscalls", "comment"])?;
    let default_errno = top.errno("defaultErrnoRet")?;
    let default_action = action(&top.required("defaultAction")?, default_errno)?;
    let arches = arches(&top, circumstances.native)?;
    let mut rules = Vec::new();
    if let Some(list) = top.get("syscalls") {
        for entry in list.array()? {
            rules.extend(syscall_rules(&entry.object()?, circumstances)?);
        }
    }
    Ok(Policy { default_action, arches, rules })
}

fn arches(top: &Object<'_>, native: Arch) -> Result<Vec<Arch>> {
    let mut names: Vec<String> = Vec::new();
    match (top.get("archMap"), top.get("architectures")) {
        (Some(_), Some(list)) if !list.array()?.is_empty() => {
            return Err(list.error("stands beside `archMap`; use one of the two"));
        }
        (None, Some(list)) => {
            for entry in list.array()? {
                known_arch(&entry)?;
                names.push(entry.string()?.to_owned());
            }
        }
        (Some(map), _) => {
            for entry in map.array()? {
                let entry = entry.object()?;
                entry.only(&["architecture", "subArchitectures"])?;
                let main = entry.required("architecture")?;
                known_arch(&main)?;
                let mut subs = Vec::new();
                if let Some(list) = entry.get("subArchitectures") {
                    for sub in list.array()? {
                        known_arch(&sub)?;
                        subs.push(sub.string()?.to_owned());
                    }
                }
                if arch(main.string()?) == Some(native) {
                    names.extend(subs);
                }
            }
        }
        (None, None) => {}
    }
    let mut arches = vec![native];
    for other in names.iter().filter_map(|name| arch(name)) {
        let belongs = other == native || (native == Arch::X86_64 && other == Arch::I386);
        if belongs && !arches.contains(&other) {
            arches.push(other);
        }
    }
    Ok(arches)
}

fn arch(name: &str) -> Option<Arch> {
    match name {
        "SCMP_ARCH_X86_64" => Some(Arch::X86_64),
        "SCMP_ARCH_X86" => Some(Arch::I386),
        "SCMP_ARCH_AARCH64" => Some(Arch::Aarch64),
        _ => None,
    }
}

fn known_arch(place: &Place<'_>) -> Result<()> {
    const OTHERS: &str = " X32 ARM MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC \
                          PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB NATIVE ";
    let name = place.string()?;
    let is_other = name.strip_prefix("SCMP_ARCH_").is_some_and(|short| OTHERS.contains(&format!(" {short} ")));
    if is_other || arch(name).is_some() { Ok(()) } else { Err(place.error("is not an architecture")) }
}

fn syscall_rules(entry: &Object<'_>, circumstances: Circumstances) -> Result<Vec<Rule>> {
    entry.only(&["names", "name", "action", "errnoRet", "args", "comment", "includes", "excludes"])?;
    let mut names = Vec::new();
    if let Some(list) = entry.get("names") {
        for name in list.array()? {
            names.push(name.string()?.to_owned());
        }
    }
    if let Some(name) = entry.get("name") {
        let text = name.string()?;
        if !text.is_empty() {
            if !names.is_empty() {
                return Err(name.error("stands beside `names`; use one of the two"));
            }
            names.push(text.to_owned());
        }
    }
    let action = action(&entry.required("action")?, entry.errno("errnoRet")?)?;
    let mut checks = Vec::new();
    if let Some(list) = entry.get("args") {
        for check in list.array()? {
            checks.push(arg_check(&check.object()?)?);
        }
    }
    // Both are read even where one decides, so that a mistake never hides.
    let is_included = entry.get("includes").map_or(Ok(true), |place| includes(&place, circumstances))?;
    let is_excluded = entry.get("excludes").map_or(Ok(false), |place| excludes(&place, circumstances))?;
    if !is_included || is_excluded {
        return Ok(Vec::new());
    }
    // Several conditions on one argument are alternatives in this form, those on different arguments hold together.
    let repeats = (0..6).any(|index| checks.iter().filter(|check| check.index == index).count() > 1);
    if repeats {
        return Ok(checks
            .into_iter()
            .map(|check| Rule { names: names.clone(), action, checks: vec![check] })
            .collect());
    }
    Ok(vec![Rule { names, action, checks }])
}

fn action(place: &Place<'_>, errno: Option<u16>) -> Result<Action> {
    let number = errno.unwrap_or(EPERM);
    Ok(match place.string()? {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(number),
        "SCMP_ACT_TRACE" => Action::Trace(number),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" => return Err(place.error("needs a listening agent, which is not supported")),
        _ => return Err(place.error("is not an action")),
    })
}

fn arg_check(entry: &Object<'_>) -> Result<ArgCheck> {
    entry.only(&["index", "value", "valueTwo", "op"])?;
    let index = entry.required("index")?;
    let number = index.number()?;
    if number > 5 {
        return Err(index.error("is not the index of an argument (0 to 5)"));
    }
    let value = entry.get("value").map_or(Ok(0), |place| place.number())?;
    let second = entry.get("valueTwo").map_or(Ok(0), |place| place.number())?;
    let op = entry.required("op")?;
    let (comparison, value) = match op.string()? {
        "SCMP_CMP_NE" => (Comparison::NotEqual, value),
        "SCMP_CMP_LT" => (Comparison::Less, value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, value),
        "SCMP_CMP_EQ" => (Comparison::Equal, value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, value),
        "SCMP_CMP_GT" => (Comparison::Greater, value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual { mask: value }, second),
        _ => return Err(op.error("is not a comparison")),
    };
    Ok(ArgCheck { index: number as u8, comparison, value })
}

/// A conditions object: capabilities held, architecture named, kernel new enough; `None` where it says nothing.
struct Conditions {
    capabilities: Vec<bool>,
    arch: Option<bool>,
    kernel: Option<bool>,
}

fn conditions(place: &Place<'_>, circumstances: Circumstances) -> Result<Conditions> {
    let entry = place.object()?;
    entry.only(&["caps", "arches", "minKernel"])?;
    let mut result = Conditions { capabilities: Vec::new(), arch: None, kernel: None };
    if let Some(list) = entry.get("caps") {
        for name in list.array()? {
            let text = name.string()?;
            let number = capability_number(text).ok_or_else(|| name.error("is not a capability"))?;
            result.capabilities.push(circumstances.capabilities & (1 << number) != 0);
        }
    }
    if let Some(list) = entry.get("arches") {
        let native = match circumstances.native {
            Arch::X86_64 => "amd64",
            Arch::I386 => "386",
            Arch::Aarch64 => "arm64",
        };
        let list = list.array()?;
        let mut is_named = list.is_empty();
        for name in &list {
            is_named |= name.string()? == native;
        }
        result.arch = (!list.is_empty()).then_some(is_named);
    }
    if let Some(minimum) = entry.get("minKernel") {
        let text = minimum.string()?;
        if !text.is_empty() {
            let version = kernel_version(text).ok_or_else(|| minimum.error("is not a kernel version"))?;
            result.kernel = Some(circumstances.kernel >= version);
        }
    }
    Ok(result)
}

fn includes(place: &Place<'_>, circumstances: Circumstances) -> Result<bool> {
    let conditions = conditions(place, circumstances)?;
    Ok(conditions.capabilities.iter().all(|held| *held)
        && conditions.arch.unwrap_or(true)
        && conditions.kernel.unwrap_or(true))
}

fn excludes(place: &Place<'_>, circumstances: Circumstances) -> Result<bool> {
    let conditions = conditions(place, circumstances)?;
    Ok(conditions.capabilities.iter().any(|held| *held)
        || conditions.arch.unwrap_or(false)
        || conditions.kernel.unwrap_or(false))
}

/// Major and minor of `6.1`, `6.18.4-generic` ….
#[must_use]
pub fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Names by number (`linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn capability_number(name: &str) -> Option<usize> {
    let short = name.strip_prefix("CAP_")?;
    CAPABILITIES.iter().position(|known| *known == short)
}

/// A value and where it stands, for messages.
struct Place<'a> {
    path: String,
    value: &'a Value,
}

/// An object and where it stands; members that are `null` count as absent.
struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Place<'a> {
    fn top(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    fn error(&self, complaint: &str) -> Error {
        let shown = match self.value {
            Value::Array(_) | Value::Object(_) => String::new(),
            other => format!(" `{}`", other.to_string().trim_matches('"')),
        };
        let place = if self.path.is_empty() { "the document" } else { &self.path };
        Error::new(ErrorKind::BadSeccompProfile, format!("seccomp profile: {place}{shown} {complaint}"))
    }

    fn object(&self) -> Result<Object<'a>> {
        let members = self.value.as_object().ok_or_else(|| self.error("is not an object"))?;
        Ok(Object { path: self.path.clone(), members })
    }

    fn array(&self) -> Result<Vec<Place<'a>>> {
        let items = self.value.as_array().ok_or_else(|| self.error("is not a list"))?;
        Ok(items
            .iter()
            .enumerate()
            .map(|(index, value)| Place { path: format!("{}[{index}]", self.path), value })
            .collect())
    }

    fn string(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.error("is not a text"))
    }

    fn number(&self) -> Result<u64> {
        self.value.as_u64().ok_or_else(|| self.error("is not a whole number from 0 to 2^64 - 1"))
    }
}

impl<'a> Object<'a> {
    fn member_path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn get(&self, name: &str) -> Option<Place<'a>> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some(Place { path: self.member_path(name), value })
    }

    fn required(&self, name: &str) -> Result<Place<'a>> {
        self.get(name).ok_or_else(|| {
            let message = format!("seccomp profile: {} is missing", self.member_path(name));
            Error::new(ErrorKind::BadSeccompProfile, message)
        })
    }

    fn errno(&self, name: &str) -> Result<Option<u16>> {
        let Some(place) = self.get(name) else { return Ok(None) };
        match place.number()? {
            number if number <= MAX_ERRNO => Ok(Some(number as u16)),
            _ => Err(place.error("is not an error number")),
        }
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.members.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::new(
                ErrorKind::BadSeccompProfile,
                format!("seccomp profile: {} is not a known member", self.member_path(name)),
            )),
        }
    }
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
