//! The device filter of the unified hierarchy: an eBPF program (`BPF_PROG_TYPE_CGROUP_DEVICE`) from device rules.
//!
//! The kernel asks with a kind, the access wanted (a set of bits) and the numbers. Rules are walked from the last to the
//! first: a matching denial of any bit still wanted refuses, a matching permission crosses its bits off, and when none is
//! left the access is granted. What no rule grants is refused.

use ctr_spec::DeviceRule;

/// `r2` holds the kind, `r3` the access still wanted, `r4` and `r5` the numbers.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const AND_32: u8 = 0x54;
const SHIFT_RIGHT_32: u8 = 0x74;
const MOVE: u8 = 0xb7;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_ANY_BIT: u8 = 0x45;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;

/// The program, one `struct bpf_insn` a number (`Documentation/bpf/standardization/instruction-set.rst`).
#[must_use]
pub fn device_program(rules: &[DeviceRule]) -> Vec<u64> {
    // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }, access_type = access << 16 | kind.
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(AND_32, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, WANTED, CONTEXT, 0, 0),
        instruction(SHIFT_RIGHT_32, WANTED, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        append_rule(&mut program, rule);
    }
    program.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn append_rule(program: &mut Vec<u64>, rule: &DeviceRule) {
    let access = access_bits(&rule.access);
    let verdict = [instruction(MOVE, 0, 0, 0, i32::from(rule.allow)), instruction(EXIT, 0, 0, 0, 0)];
    let action: Vec<u64> = if rule.allow {
        let [value, exit] = verdict;
        vec![instruction(AND_32, WANTED, 0, 0, !access), instruction(JUMP_NOT_EQUAL, WANTED, 0, 2, 0), value, exit]
    } else {
        let [value, exit] = verdict;
        vec![instruction(JUMP_ANY_BIT, WANTED, 0, 1, access), instruction(JUMP, 0, 0, 2, 0), value, exit]
    };
    let kind = match rule.kind {
        'b' => Some(KIND_BLOCK),
        'c' => Some(KIND_CHARACTER),
        _ => None,
    };
    let conditions = [
        kind.map(|kind| (KIND, kind)),
        rule.major.map(|major| (MAJOR, major as i32)),
        rule.minor.map(|minor| (MINOR, minor as i32)),
    ];
    let conditions: Vec<(u8, i32)> = conditions.into_iter().flatten().collect();
    for (index, (register, value)) in conditions.iter().enumerate() {
        // A mismatch goes on with the next rule: over the conditions still to come and the action.
        let distance = conditions.len() - 1 - index + action.len();
        program.push(instruction(JUMP_NOT_EQUAL, *register, 0, distance as i16, *value));
    }
    program.extend(action);
}

fn access_bits(letters: &str) -> i32 {
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

fn instruction(operation: u8, target: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(operation)
        | u64::from(source << 4 | target) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MKNOD: u32 = 1;
    const READ: u32 = 2;
    const WRITE: u32 = 4;

    /// An eBPF machine as far as these programs go; unused jumps target what is never reached, so no constant folding.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let word = program[at];
            let (target, source) = ((word >> 8 & 0xf) as usize, (word >> 12 & 0xf) as usize);
            let (offset, immediate) = (i64::from((word >> 16) as i16), (word >> 32) as i32);
            let value = i64::from(immediate) as u64;
            at += 1;
            let holds = match word as u8 {
                LOAD_WORD => {
                    assert_eq!(source, usize::from(CONTEXT));
                    registers[target] = u64::from(context[offset as usize / 4]);
                    false
                }
                AND_32 => {
                    registers[target] = u64::from(registers[target] as u32 & immediate as u32);
                    false
                }
                SHIFT_RIGHT_32 => {
                    registers[target] = u64::from(registers[target] as u32 >> immediate);
                    false
                }
                MOVE => {
                    registers[target] = value;
                    false
                }
                JUMP_NOT_EQUAL => registers[target] != value,
                JUMP_ANY_BIT => registers[target] & value != 0,
                JUMP => true,
                EXIT => return registers[0],
                other => panic!("instruction {other:#x}"),
            };
            if holds {
                at += offset as usize;
            }
        }
    }

    fn rule(allow: bool, kind: char, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule { kind, major, minor, access: access.into(), allow }
    }

    #[test]
    fn only_what_is_granted_is_allowed() {
        let program = device_program(&[
            rule(true, 'c', None, None, "m"),
            rule(true, 'c', Some(1), Some(3), "rwm"),
            rule(true, 'b', Some(8), None, "r"),
        ]);
        assert_eq!(run(&program, 2, READ | WRITE, 1, 3), 1);
        assert_eq!(run(&program, 2, READ, 1, 5), 0);
        assert_eq!(run(&program, 2, MKNOD, 10, 229), 1);
        assert_eq!(run(&program, 1, MKNOD, 10, 229), 0);
        assert_eq!(run(&program, 1, READ, 8, 7), 1);
        assert_eq!(run(&program, 1, READ | WRITE, 8, 7), 0);
        assert_eq!(run(&device_program(&[]), 2, READ, 1, 3), 0);
    }

    #[test]
    fn later_rules_decide_and_permissions_add_up() {
        let program = device_program(&[
            rule(true, 'a', None, None, "rwm"),
            rule(false, 'c', Some(10), Some(229), "rwm"),
            rule(true, 'c', Some(10), Some(229), "r"),
        ]);
        assert_eq!(run(&program, 2, READ, 10, 229), 1);
        assert_eq!(run(&program, 2, READ | WRITE, 10, 229), 0);
        assert_eq!(run(&program, 1, READ | WRITE, 9, 9), 1);
        let program = device_program(&[rule(true, 'c', Some(1), Some(3), "r"), rule(true, 'c', Some(1), None, "w")]);
        assert_eq!(run(&program, 2, READ | WRITE, 1, 3), 1, "two rules together grant both");
        assert_eq!(run(&program, 2, READ | WRITE, 1, 5), 0);
    }

    #[test]
    fn the_kernel_takes_the_programs() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: loading a program needs root");
            return;
        }
        let many: Vec<DeviceRule> =
            (0..200).map(|minor| rule(minor % 3 > 0, 'c', Some(1), Some(minor), "rw")).collect();
        for rules in [&[][..], &[rule(true, 'a', None, None, "rwm"), rule(false, 'b', None, Some(7), "m")], &many] {
            match ctr_sys::bpf::load_device_filter(&device_program(rules)) {
                Ok(_) => {}
                Err(cause) if matches!(cause.raw_os_error(), Some(1 | 38)) => {
                    eprintln!("skipped: this kernel loads no programs here: {cause}");
                    return;
                }
                Err(cause) => panic!("{} rules: {cause}", rules.len()),
            }
        }
    }

    #[test]
    fn the_kernel_obeys_the_programs() {
        let Some(unified) = crate::cgroup::host().unwrap().v2.as_ref() else {
            eprintln!("skipped: there is no unified hierarchy");
            return;
        };
        let group = std::path::Path::new(&unified.mount).join(format!("ctr-core-devices-{}", std::process::id()));
        if std::fs::create_dir(&group).is_err() {
            eprintln!("skipped: control groups cannot be made here");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let program = device_program(&[rule(true, 'b', None, None, "m"), rule(true, 'c', Some(1), Some(3), "rwm")]);
        let attached = ctr_sys::bpf::load_device_filter(&program).and_then(|program| {
            use std::os::fd::AsFd;
            let directory = std::fs::File::open(&group)?;
            ctr_sys::bpf::attach_device_filter(directory.as_fd(), program.as_fd())
        });
        let script = format!(
            "echo $$ > {}/cgroup.procs && mknod null c 1 3 && cat null && mknod disk b 254 0 && echo made; \
             cat disk || echo refused; mknod zero c 1 5 || echo refused",
            group.display()
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(place.path()).output();
        let removed = ctr_sys::cgroupfs::remove(&group);
        if let Err(cause) = attached {
            eprintln!("skipped: this kernel attaches no programs here: {cause}");
            return;
        }
        let output = output.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "made\nrefused\nrefused\n", "{output:?}");
        removed.unwrap();
    }
}
