use serde_json::json;

use super::*;

const PLAIN: Circumstances = Circumstances { capabilities: 0, native: Arch::X86_64, kernel: (6, 1) };

fn complaint(document: &Value) -> String {
    let error = parse_profile(document, PLAIN).unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadSeccompProfile);
    error.message
}

fn with_rule(rule: &Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

#[test]
fn mistakes_are_told_with_their_place() {
    let allow = "SCMP_ACT_ALLOW";
    for (document, expected) in [
        (json!([]), "the document is not an object"),
        (json!({}), "defaultAction is missing"),
        (json!({"defaultAction": "ALLOW"}), "defaultAction `ALLOW` is not an action"),
        (json!({"defaultAction": allow, "extra": 1}), "extra is not a known member"),
        (json!({"defaultAction": allow, "defaultErrnoRet": 5000}), "defaultErrnoRet `5000` is not an error number"),
        (json!({"defaultAction": allow, "architectures": ["Z80"]}), "architectures[0] `Z80` is not an architecture"),
        (with_rule(&json!({"names": ["read"]})), "syscalls[0].action is missing"),
        (with_rule(&json!({"names": [7], "action": allow})), "syscalls[0].names[0] `7` is not a text"),
        (
            with_rule(&json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
            "syscalls[0].action `SCMP_ACT_NOTIFY` needs a listening agent",
        ),
        (
            with_rule(&json!({"names": ["read"], "action": allow, "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]})),
            "syscalls[0].args[0].index `6` is not the index",
        ),
        (
            with_rule(&json!({"names": ["read"], "action": allow, "args": [{"index": 0, "op": "LIKE"}]})),
            "syscalls[0].args[0].op `LIKE` is not a comparison",
        ),
        (
            with_rule(&json!({"names": ["read"], "action": allow, "includes": {"caps": ["CAP_FLY"]}})),
            "syscalls[0].includes.caps[0] `CAP_FLY` is not a capability",
        ),
        (
            with_rule(&json!({"names": ["read"], "action": allow, "includes": {"minKernel": "new"}})),
            "syscalls[0].includes.minKernel `new` is not a kernel version",
        ),
    ] {
        let message = complaint(&document);
        assert!(message.starts_with("seccomp profile: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn conditions_choose_rules() {
    let count = |conditions: &Value, circumstances| {
        let mut rule = json!({"names": ["mount"], "action": "SCMP_ACT_ALLOW"});
        rule.as_object_mut().unwrap().extend(conditions.as_object().unwrap().clone());
        parse_profile(&with_rule(&rule), circumstances).unwrap().rules.len()
    };
    let admin = Circumstances { capabilities: 1 << 21, ..PLAIN };
    let arm = Circumstances { native: Arch::Aarch64, ..PLAIN };
    let includes = json!({"includes": {"caps": ["CAP_SYS_ADMIN"]}});
    assert_eq!((count(&includes, PLAIN), count(&includes, admin)), (0, 1));
    let excludes = json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}});
    assert_eq!((count(&excludes, PLAIN), count(&excludes, admin)), (1, 0));
    let arches = json!({"includes": {"arches": ["arm", "arm64"]}});
    assert_eq!((count(&arches, PLAIN), count(&arches, arm)), (0, 1));
    let kernel = json!({"includes": {"minKernel": "6.2"}});
    assert_eq!((count(&kernel, PLAIN), count(&kernel, Circumstances { kernel: (6, 2), ..PLAIN })), (0, 1));
    assert_eq!(count(&json!({"includes": {}, "excludes": null, "args": null, "comment": ""}), PLAIN), 1);
}

#[test]
fn versions_are_read() {
    assert_eq!(kernel_version("6.18.44-fc\n"), Some((6, 18)));
    assert_eq!(kernel_version("4.8"), Some((4, 8)));
    assert_eq!(kernel_version("six"), None);
}
