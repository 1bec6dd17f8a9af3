//! The kernel's list form of CPU and memory node numbers (`cpuset(7)`, "List format"): `0-2,5`.

use std::collections::BTreeSet;

/// Numbers beyond this are a mistake, not a machine.
const MAX_NUMBER: u32 = 65_535;

/// The numbers of a list; `None` when it is malformed. The empty text is the empty list.
#[must_use]
pub fn parse(text: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    let text = text.trim();
    if text.is_empty() {
        return Some(numbers);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= MAX_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_mistakes_found() {
        assert_eq!(parse("0-2,5\n").unwrap().into_iter().collect::<Vec<_>>(), [0, 1, 2, 5]);
        assert_eq!(parse("").unwrap().len(), 0);
        for text in ["a", "1-", "-1", "2-1", "1,,2", "+1", "99999999", "0-70000", "1 2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
