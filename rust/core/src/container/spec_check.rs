//! What a specification must fulfil before anything is made from it.

use ctr_spec::{ContainerSpec, DeviceRule, Lower, MountKind, NamespaceMode, ProcessSpec, SPEC_VERSION};

use crate::{Error, ErrorKind, Result};

/// The kernel's limit (`__NEW_UTS_LEN`).
const MAX_HOSTNAME_BYTES: usize = 64;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(invalid(message())) }
}

/// Checks a container's specification.
pub fn check(spec: &ContainerSpec) -> Result<()> {
    version(spec.version)?;
    id(&spec.id)?;
    process(&spec.process)?;
    ensure(!spec.root.lowers.is_empty(), || "a container needs at least one layer".into())?;
    for Lower::Directory { path } in &spec.root.lowers {
        absolute("layer", path)?;
    }
    for path in &spec.root.hidden_paths {
        absolute("hidden path", path)?;
    }
    for path in spec.masked_paths.iter().chain(&spec.readonly_paths) {
        absolute("masked or read-only path", path)?;
    }
    for mount in &spec.mounts {
        absolute("mount target", &mount.target)?;
        if let MountKind::Bind { source, .. } = &mount.kind {
            absolute("mount source", source)?;
        }
    }
    for file in &spec.files {
        absolute("file", &file.path)?;
        ensure(file.mode & !0o7777 == 0, || format!("`{:o}` is not a file mode", file.mode))?;
    }
    names(spec)?;
    spec.devices.rules.iter().try_for_each(device_rule)?;
    let namespaces = &spec.namespaces;
    for mode in [&namespaces.pid, &namespaces.network, &namespaces.ipc, &namespaces.uts] {
        if let NamespaceMode::Process { pid, .. } = mode {
            ensure(*pid > 0 && i32::try_from(*pid).is_ok(), || format!("`{pid}` is not a process id"))?;
        }
    }
    ensure(spec.log.max_files > 0, || "at least one log file must be kept".into())
}

/// Checks the version of a document.
pub fn version(version: u32) -> Result<()> {
    ensure(version == SPEC_VERSION, || {
        format!("the specification has version {version}, this engine speaks version {SPEC_VERSION}")
    })
}

/// Checks a container's or exec's id, which becomes a file name.
pub fn id(id: &str) -> Result<()> {
    let is_id = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure(is_id, || format!("`{id}` is not an id of 64 hexadecimal digits"))
}

/// Checks a process.
pub fn process(process: &ProcessSpec) -> Result<()> {
    ensure(process.args.first().is_some_and(|program| !program.is_empty()), || "no command was given".into())?;
    for argument in process.args.iter().chain(&process.env) {
        ensure(!argument.contains('\0'), || "an argument or environment variable contains a null byte".into())?;
    }
    for variable in &process.env {
        let is_pair = variable.split_once('=').is_some_and(|(name, _)| !name.is_empty());
        ensure(is_pair, || format!("the environment variable `{variable}` is not `NAME=value`"))?;
    }
    absolute("working directory", &process.cwd)?;
    for text in std::iter::once(&process.user.name).chain(&process.user.additional_groups) {
        ensure(!text.contains(['\0', '\n']), || format!("`{}` is not a user or group", text.escape_debug()))?;
    }
    for limit in &process.rlimits {
        ensure(limit.soft <= limit.hard, || {
            format!("the soft limit `{}` of `{}` is above its hard limit `{}`", limit.soft, limit.name, limit.hard)
        })?;
    }
    if let Some(adjustment) = process.oom_score_adj {
        ensure((-1_000..=1_000).contains(&adjustment), || {
            format!("an OOM score adjustment of {adjustment} is out of range: -1,000 to 1,000")
        })?;
    }
    match process.umask {
        Some(umask) => ensure(umask & !0o777 == 0, || format!("`{umask:o}` is not a umask")),
        None => Ok(()),
    }
}

fn names(spec: &ContainerSpec) -> Result<()> {
    for (what, name) in
        std::iter::once(("host name", &spec.hostname)).chain(spec.domainname.iter().map(|name| ("domain name", name)))
    {
        ensure(name.len() <= MAX_HOSTNAME_BYTES, || {
            format!("the {what} `{name}` is longer than {MAX_HOSTNAME_BYTES} bytes")
        })?;
        ensure(!name.bytes().any(|byte| byte <= b' '), || {
            format!("the {what} `{}` contains blanks or control characters", name.escape_debug())
        })?;
    }
    Ok(())
}

fn device_rule(rule: &DeviceRule) -> Result<()> {
    ensure(matches!(rule.kind, 'a' | 'b' | 'c'), || format!("`{}` is not a kind of device", rule.kind))?;
    let is_access = !rule.access.is_empty() && rule.access.chars().all(|letter| "rwm".contains(letter));
    ensure(is_access, || format!("`{}` is not a device access of the letters `rwm`", rule.access))
}

fn absolute(what: &str, path: &str) -> Result<()> {
    ensure(path.starts_with('/') && !path.contains('\0'), || {
        format!("the {what} `{}` is not an absolute path", path.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document() -> Value {
        json!({
            "version": 1, "id": "0".repeat(64), "hostname": "box", "shm_size_bytes": 65536,
            "process": {"args": ["true"], "env": ["A=b"], "cwd": "/", "capabilities": 0},
            "stdio": {"mode": "direct"}, "root": {"lowers": [{"kind": "directory", "path": "/layer"}]},
            "namespaces": {}, "devices": {"allow_all": false, "rules": []}, "seccomp": {"mode": "default"},
            "log": {"driver": "none", "max_size_bytes": 0, "max_files": 1},
        })
    }

    fn complaint(pointer: &str, value: Value) -> String {
        let mut document = document();
        *document.pointer_mut(pointer).unwrap() = value;
        let spec: ContainerSpec = serde_json::from_value(document).unwrap();
        let error = check(&spec).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument);
        error.message
    }

    #[test]
    fn a_plain_specification_passes() {
        check(&serde_json::from_value(document()).unwrap()).unwrap();
    }

    #[test]
    fn mistakes_are_told() {
        for (pointer, value, words) in [
            ("/version", json!(2), "version 2"),
            ("/id", json!("../x"), "not an id"),
            ("/process/args", json!([]), "no command"),
            ("/process/args", json!(["a\0b"]), "null byte"),
            ("/process/env", json!(["=x"]), "not `NAME=value`"),
            ("/process/cwd", json!("tmp"), "working directory `tmp` is not an absolute path"),
            ("/root/lowers", json!([]), "at least one layer"),
            ("/hostname", json!("a b"), "blanks"),
            ("/hostname", json!("x".repeat(65)), "longer than 64 bytes"),
            ("/log/max_files", json!(0), "at least one log file"),
            (
                "/devices/rules",
                json!([{"kind": "x", "major": null, "minor": null, "access": "r", "allow": true}]),
                "kind of device",
            ),
            ("/namespaces", json!({"pid": {"mode": "process", "pid": 0, "start_time": 0}}), "not a process id"),
        ] {
            let message = complaint(pointer, value);
            assert!(message.contains(words), "{message}");
        }
    }
}
