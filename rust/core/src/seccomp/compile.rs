//! From a policy to classic BPF: a dispatch on the architecture, then a binary search over ranges of call numbers.
//!
//! Code is made from its end towards its beginning, so that every jump's target is known when the jump is made; a
//! conditional jump that is too far for its eight bits goes through an unconditional one. The kernel finds out by itself
//! which numbers are always allowed and skips the program for them (`seccomp_cache_prepare`); only instructions that
//! it can follow there are used on the way to such an answer.

use std::collections::{BTreeMap, HashMap};

use super::policy::{Action, Arch, ArgCheck, Comparison, Policy, is_argument_32_bits};
use crate::{Error, ErrorKind, Result};

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// `BPF_LD | BPF_W | BPF_ABS`
pub const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
pub const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`
pub const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`
pub const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`
pub const JUMP_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`
pub const JUMP_GREATER_EQUAL: u16 = 0x35;
/// `BPF_RET | BPF_K`
pub const RETURN: u16 = 0x06;

/// The kernel's limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// Numbers from here on are calls of the x32 variant.
const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u16 = 38;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// The program's bytes, as `seccomp(2)` takes them.
#[must_use]
pub fn encode(program: &[Instruction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.extend_from_slice(&[instruction.jump_true, instruction.jump_false]);
        bytes.extend_from_slice(&instruction.operand.to_ne_bytes());
    }
    bytes
}

/// Compiles a policy. Fails with `BadSeccompProfile` when the program is longer than the kernel accepts.
pub fn compile(policy: &Policy) -> Result<Vec<Instruction>> {
    let mut code = Reverse::default();
    // Only the words at offsets known on little-endian machines are looked at; both supported families are.
    let foreign = code.action(Action::KillProcess);
    let mut next = foreign;
    for &arch in policy.arches.iter().rev() {
        let block = arch_block(&mut code, policy, arch);
        next = code.branch(JUMP_EQUAL, arch.audit_value(), block, next);
    }
    code.push(LOAD, OFFSET_ARCH);
    if code.instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::new(
            ErrorKind::BadSeccompProfile,
            format!(
                "the seccomp profile needs {} instructions, the kernel takes at most {MAX_INSTRUCTIONS}",
                code.instructions.len()
            ),
        ));
    }
    code.instructions.reverse();
    Ok(code.instructions)
}

/// What is decided for one call number: the conditional rules in order, then the rest.
#[derive(Clone, Default, PartialEq)]
struct Decision {
    conditional: Vec<(Vec<(ArgCheck, bool)>, Action)>,
    unconditional: Option<Action>,
}

fn decisions(policy: &Policy, arch: Arch) -> BTreeMap<u32, Decision> {
    let mut by_number: BTreeMap<u32, Decision> = BTreeMap::new();
    for rule in &policy.rules {
        for name in &rule.names {
            let Some(number) = arch.syscall_number(name) else { continue };
            let decision = by_number.entry(number).or_default();
            if rule.checks.is_empty() {
                decision.unconditional.get_or_insert(rule.action);
            } else {
                let checks = rule.checks.iter().map(|check| (*check, is_argument_32_bits(name, check.index))).collect();
                decision.conditional.push((checks, rule.action));
            }
        }
    }
    by_number
}

fn arch_block(code: &mut Reverse, policy: &Policy, arch: Arch) -> Label {
    let by_number = decisions(policy, arch);
    let default = code.action(policy.default_action);
    // Calls newer than everything the profile knows fail as on an older kernel, so that programs fall back.
    let beyond = match policy.default_action {
        Action::Errno(_) => code.action(Action::Errno(ENOSYS)),
        _ => default,
    };
    // Ranges (first number, target), neighbours with the same target merged.
    let mut ranges: Vec<(u32, Label)> = Vec::new();
    let mut next_number = 0;
    let add = |ranges: &mut Vec<(u32, Label)>, first: u32, target: Label| {
        if ranges.last().is_none_or(|last| last.1 != target) {
            ranges.push((first, target));
        }
    };
    for (&number, decision) in &by_number {
        if number > next_number {
            add(&mut ranges, next_number, default);
        }
        let last = code.action(decision.unconditional.unwrap_or(policy.default_action));
        let target = decision.conditional.iter().rev().fold(last, |next, (checks, action)| {
            let hit = code.action(*action);
            checks
                .iter()
                .rev()
                .fold(hit, |hit, (check, is_32_bits)| argument_check(code, check, *is_32_bits, hit, next))
        });
        add(&mut ranges, number, target);
        next_number = number + 1;
    }
    add(&mut ranges, next_number, beyond);
    let search = search_tree(code, &ranges);
    let start = if arch == Arch::X86_64 {
        let refused = code.action(Action::Errno(ENOSYS));
        code.branch(JUMP_GREATER_EQUAL, X32_BIT, refused, search)
    } else {
        search
    };
    code.fall_into(start);
    code.push(LOAD, OFFSET_NUMBER)
}

fn search_tree(code: &mut Reverse, ranges: &[(u32, Label)]) -> Label {
    if let [(_, target)] = ranges {
        return *target;
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let upper_tree = search_tree(code, upper);
    let lower_tree = search_tree(code, lower);
    code.branch(JUMP_GREATER_EQUAL, upper[0].0, upper_tree, lower_tree)
}

fn argument_check(code: &mut Reverse, check: &ArgCheck, is_32_bits: bool, hit: Label, miss: Label) -> Label {
    let (comparison, value) = (check.comparison, check.value);
    let (low, high) = (value as u32, (value >> 32) as u32);
    let low_offset = OFFSET_ARGUMENTS + 8 * u32::from(check.index);
    // `argument < value` is the negation of `argument >= value`, and so on.
    let (comparison, hit, miss) = match comparison {
        Comparison::Less => (Comparison::GreaterOrEqual, miss, hit),
        Comparison::LessOrEqual => (Comparison::Greater, miss, hit),
        Comparison::NotEqual => (Comparison::Equal, miss, hit),
        other => (other, hit, miss),
    };
    let load = |code: &mut Reverse, offset: u32, mask: Option<u32>, start: Label| {
        code.fall_into(start);
        if let Some(mask) = mask {
            code.push(AND, mask);
        }
        code.push(LOAD, offset)
    };
    match comparison {
        Comparison::Equal | Comparison::MaskedEqual { .. } => {
            let mask = match comparison {
                Comparison::MaskedEqual { mask } => Some(mask),
                _ => None,
            };
            let low_test = code.branch(JUMP_EQUAL, low, hit, miss);
            let low_block = load(code, low_offset, mask.map(|mask| mask as u32), low_test);
            if is_32_bits {
                return low_block;
            }
            let high_test = code.branch(JUMP_EQUAL, high, low_block, miss);
            load(code, low_offset + 4, mask.map(|mask| (mask >> 32) as u32), high_test)
        }
        _ => {
            let low_code = if comparison == Comparison::Greater { JUMP_GREATER } else { JUMP_GREATER_EQUAL };
            let low_test = code.branch(low_code, low, hit, miss);
            let low_block = load(code, low_offset, None, low_test);
            if is_32_bits {
                return low_block;
            }
            let equal = code.branch(JUMP_EQUAL, high, low_block, miss);
            let high_test = code.branch(JUMP_GREATER, high, hit, equal);
            load(code, low_offset + 4, None, high_test)
        }
    }
}

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(usize);

/// A program under construction, last instruction first.
#[derive(Default)]
struct Reverse {
    instructions: Vec<Instruction>,
    returns: HashMap<u32, Label>,
}

impl Reverse {
    fn push(&mut self, code: u16, operand: u32) -> Label {
        self.instructions.push(Instruction { code, jump_true: 0, jump_false: 0, operand });
        Label(self.instructions.len() - 1)
    }

    /// The return of an action, made once.
    fn action(&mut self, action: Action) -> Label {
        let value = action.return_value();
        if let Some(&label) = self.returns.get(&value) {
            return label;
        }
        let label = self.push(RETURN, value);
        self.returns.insert(value, label);
        label
    }

    /// Makes sure that the instruction pushed next is followed by `target`.
    fn fall_into(&mut self, target: Label) {
        if target.0 + 1 != self.instructions.len() {
            let distance = self.instructions.len() - 1 - target.0;
            self.push(JUMP, distance as u32);
        }
    }

    fn branch(&mut self, code: u16, operand: u32, on_true: Label, on_false: Label) -> Label {
        let near_false = self.within_reach(on_false, 1);
        let near_true = self.within_reach(on_true, 0);
        let here = self.instructions.len();
        let distance = |target: Label| (here - 1 - target.0) as u8;
        self.instructions.push(Instruction {
            code,
            jump_true: distance(near_true),
            jump_false: distance(near_false),
            operand,
        });
        Label(here)
    }

    /// `target`, or a copy of it or a jump to it when a conditional jump after `reserve` further instructions could not
    /// reach it.
    fn within_reach(&mut self, target: Label, reserve: usize) -> Label {
        let distance = self.instructions.len() + reserve - 1 - target.0;
        if u8::try_from(distance).is_ok() {
            return target;
        }
        let instruction = self.instructions[target.0];
        if instruction.code == RETURN {
            return self.push(RETURN, instruction.operand);
        }
        self.push(JUMP, (self.instructions.len() - 1 - target.0) as u32)
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
