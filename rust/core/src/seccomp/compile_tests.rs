use super::*;
use crate::seccomp::policy::Rule;
use crate::seccomp::syscall_table::TABLE;
use crate::seccomp::{Circumstances, default_policy, parse_profile};

/// Docker's fourteen.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;
const SYS_ADMIN: u64 = 1 << 21;
const ALL_ARCHES: [Arch; 3] = [Arch::X86_64, Arch::I386, Arch::Aarch64];

/// A classic BPF machine as far as filters use it (`Documentation/networking/filter.rst`).
fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&number.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    for argument in arguments {
        data.extend_from_slice(&argument.to_le_bytes());
    }
    let (mut accumulator, mut at) = (0_u32, 0);
    loop {
        let step = program[at];
        let condition = |holds: bool| usize::from(if holds { step.jump_true } else { step.jump_false });
        at += 1 + match step.code {
            LOAD => {
                let offset = step.operand as usize;
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                0
            }
            AND => {
                accumulator &= step.operand;
                0
            }
            JUMP => step.operand as usize,
            JUMP_EQUAL => condition(accumulator == step.operand),
            JUMP_GREATER => condition(accumulator > step.operand),
            JUMP_GREATER_EQUAL => condition(accumulator >= step.operand),
            RETURN => return step.operand,
            other => panic!("instruction {other:#x}"),
        };
    }
}

/// The rules that speak of one call number.
fn rules_for(policy: &Policy, arch: Arch, number: u32) -> Vec<(&Rule, &str)> {
    let named = |name: &&String| arch.syscall_number(name) == Some(number);
    policy
        .rules
        .iter()
        .flat_map(|rule| rule.names.iter().filter(named).map(move |name| (rule, name.as_str())))
        .collect()
}

/// The same decision straight from the rules.
fn judge(policy: &Policy, arch: Arch, number: u32, newest: u32, rules: &[(&Rule, &str)], arguments: [u64; 6]) -> u32 {
    if arch == Arch::X86_64 && number >= X32_BIT {
        return Action::Errno(ENOSYS).return_value();
    }
    let holds = |check: &ArgCheck, name: &str| {
        let width = if is_argument_32_bits(name, check.index) { u64::from(u32::MAX) } else { u64::MAX };
        let (argument, value) = (arguments[usize::from(check.index)] & width, check.value & width);
        match check.comparison {
            Comparison::NotEqual => argument != value,
            Comparison::Less => argument < value,
            Comparison::LessOrEqual => argument <= value,
            Comparison::Equal => argument == value,
            Comparison::GreaterOrEqual => argument >= value,
            Comparison::Greater => argument > value,
            Comparison::MaskedEqual { mask } => argument & mask & width == value,
        }
    };
    let conditional =
        rules.iter().find(|(rule, name)| !rule.checks.is_empty() && rule.checks.iter().all(|check| holds(check, name)));
    let unconditional = || rules.iter().find(|(rule, _)| rule.checks.is_empty());
    let action = match conditional.or_else(unconditional) {
        Some((rule, _)) => rule.action,
        None if number > newest && matches!(policy.default_action, Action::Errno(_)) => Action::Errno(ENOSYS),
        None => policy.default_action,
    };
    action.return_value()
}

/// Values around everything that the policies compare with.
fn interesting_arguments() -> Vec<u64> {
    let mut values = vec![0, u64::MAX, 0x7e02_0000, 0x0002_0000, 0x1000_0000, 0x11, 0x1_0000_0000];
    for base in [1_u64, 8, 38, 39, 40, 41, 0x2_0000, 0x2_0008, 0xffff_ffff, 0x5_0000_0003, 1 << 40] {
        values.extend([base - 1, base, base + 1, base | 1 << 32, base | 1 << 63]);
    }
    values
}

fn compare(policy: &Policy) {
    let program = compile(policy).unwrap();
    let arguments = interesting_arguments();
    for &arch in &policy.arches {
        let named = policy.rules.iter().flat_map(|rule| &rule.names);
        let newest = named.filter_map(|name| arch.syscall_number(name)).max().unwrap();
        for number in (0..480).chain([X32_BIT, X32_BIT + 41, u32::MAX]) {
            let rules = rules_for(policy, arch, number);
            // A call without conditions needs no more than one look.
            let is_plain = rules.iter().all(|(rule, _)| rule.checks.is_empty());
            for &value in if is_plain { &arguments[..1] } else { &arguments[..] } {
                for vector in [[value; 6], [value, 1, 0, 0, 0, 0], [0, value, 0, 0, 0, 0]] {
                    let result = run(&program, arch.audit_value(), number, vector);
                    let expected = judge(policy, arch, number, newest, &rules, vector);
                    assert_eq!(result, expected, "{arch:?} call {number} with {vector:x?}");
                }
            }
        }
    }
}

#[test]
fn the_table_is_sorted_and_knows_the_calls() {
    assert!(TABLE.is_sorted_by(|first, second| first.0 < second.0));
    assert_eq!(ALL_ARCHES.map(|arch| arch.syscall_number("openat")), [Some(257), Some(295), Some(56)]);
    assert_eq!(ALL_ARCHES.map(|arch| arch.syscall_number("open")), [Some(2), Some(5), None]);
    assert_eq!(Arch::X86_64.syscall_number("no_such_call"), None);
}

#[test]
fn the_default_program_decides_as_its_rules() {
    compare(&default_policy(DEFAULT_CAPABILITIES, &ALL_ARCHES));
    compare(&default_policy(0, &ALL_ARCHES));
    compare(&default_policy(u64::MAX, &ALL_ARCHES));
}

#[test]
fn every_comparison_is_compiled_right() {
    let comparisons = [
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Equal,
        Comparison::GreaterOrEqual,
        Comparison::Greater,
        Comparison::MaskedEqual { mask: 0xf_0000_00ff },
    ];
    for comparison in comparisons {
        for value in [3, 40, 0x5_0000_0003] {
            for name in ["socket", "read"] {
                let check = |index| ArgCheck { index, comparison, value };
                let rule = |checks, action| Rule { names: vec![name.into()], action, checks };
                compare(&Policy {
                    default_action: Action::Errno(1),
                    arches: ALL_ARCHES.to_vec(),
                    rules: vec![
                        rule(vec![check(0), check(1)], Action::Allow),
                        rule(vec![check(1)], Action::Trap),
                        rule(vec![], Action::Log),
                    ],
                });
            }
        }
    }
}

#[test]
fn long_programs_keep_their_jumps_and_too_long_ones_are_refused() {
    let rules = |count: u64| -> Vec<Rule> {
        let check = |value| ArgCheck { index: 0, comparison: Comparison::Equal, value };
        let names: Vec<String> = TABLE.iter().step_by(3).map(|entry| entry.0.to_owned()).collect();
        (0..count)
            .map(|value| Rule { names: names.clone(), action: Action::Errno(value as u16), checks: vec![check(value)] })
            .collect()
    };
    let policy = |count| Policy { default_action: Action::Allow, arches: vec![Arch::X86_64], rules: rules(count) };
    compare(&policy(4));
    assert_eq!(compile(&policy(200)).unwrap_err().kind, ErrorKind::BadSeccompProfile);
}

#[test]
fn what_matters_is_refused() {
    let program = compile(&default_policy(DEFAULT_CAPABILITIES, &ALL_ARCHES)).unwrap();
    let call = |arch: Arch, name: &str, argument: u64| {
        run(&program, arch.audit_value(), arch.syscall_number(name).unwrap(), [argument, 0, 0, 0, 0, 0])
    };
    let (allowed, refused, absent) =
        (Action::Allow.return_value(), Action::Errno(1).return_value(), Action::Errno(38).return_value());
    for arch in ALL_ARCHES {
        assert_eq!(call(arch, "openat", 0), allowed);
        assert_eq!(call(arch, "clone3", 0), absent);
        assert_eq!(call(arch, "clone", 0x11), allowed);
        assert_eq!(call(arch, "clone", 0x1000_0000), refused, "a user namespace");
        for name in ["unshare", "setns", "mount", "bpf", "keyctl", "io_uring_setup", "userfaultfd", "open_by_handle_at"]
        {
            assert_eq!(call(arch, name, 0), refused, "{name}");
        }
        for (family, expected) in [(2, allowed), (16, allowed), (38, refused), (39, allowed), (40, refused)] {
            assert_eq!(call(arch, "socket", family), expected, "family {family}");
        }
        assert_eq!(call(arch, "socket", 0xdead_0000_0026), refused, "the upper half does not hide the family");
        assert_eq!(run(&program, arch.audit_value(), 999, [0; 6]), absent, "newer than the profile");
    }
    assert_eq!(call(Arch::I386, "socketcall", 1), absent);
    assert_eq!(run(&program, 0x4000_0028, 3, [0; 6]), Action::KillProcess.return_value(), "32-bit Arm");
    let program = compile(&default_policy(DEFAULT_CAPABILITIES | SYS_ADMIN, &ALL_ARCHES)).unwrap();
    let mount = Arch::X86_64.syscall_number("mount").unwrap();
    assert_eq!(run(&program, Arch::X86_64.audit_value(), mount, [0; 6]), allowed);
}

#[test]
fn a_profile_in_json_means_the_same_as_the_rules() {
    let document = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": [
            {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 0x7e02_0000_u64, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
             "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 40, "op": "SCMP_CMP_GT"}]},
        ],
    });
    let circumstances = Circumstances { capabilities: 0, native: Arch::X86_64, kernel: (6, 1) };
    let policy = parse_profile(&document, circumstances).unwrap();
    assert_eq!(policy.arches, [Arch::X86_64, Arch::I386]);
    compare(&policy);
    let program = compile(&policy).unwrap();
    let kill = |pid| run(&program, Arch::X86_64.audit_value(), 62, [pid, 0, 0, 0, 0, 0]);
    assert_eq!(kill(8), Action::KillProcess.return_value());
    assert_eq!(kill(41), Action::KillProcess.return_value());
    assert_eq!(kill(9), Action::Errno(13).return_value());
}
