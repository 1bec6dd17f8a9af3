//! Numbers as archives write them: octal, base-256, decimal with a fraction.

/// A point in time: seconds since the epoch (may be negative) and nanoseconds after them (below 10⁹).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

/// A numeric header field: octal digits between blanks and NULs (all blank is zero), or base-256 when the first bit is
/// set (GNU); `None` when it is neither or does not fit.
pub fn numeric(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(is_blank).unwrap_or(digits.len());
    // Whatever follows the first blank after the digits must be blank too, or the field is garbage.
    if !digits[end..].iter().all(is_blank) {
        return None;
    }
    digits[..end].iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn base_256(field: &[u8]) -> Option<i64> {
    // Two's complement, big endian; the topmost bit only marks the encoding, the one below it is the sign.
    let is_negative = field[0] & 0x40 != 0;
    let mut value: i64 = if is_negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = match (index, is_negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        // The eight bits that the shift pushes out must all equal the sign.
        if value >> 55 != 0 && value >> 55 != -1 {
            return None;
        }
        value = (value << 8) | i64::from(byte);
    }
    Some(value)
}

/// A decimal number without sign.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A PAX time: decimal seconds, perhaps negative, perhaps with a fraction (digits after the ninth are dropped).
pub fn pax_time(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    let mut nanoseconds = 0u32;
    for position in 0..fraction.len().max(9) {
        let digit = fraction.get(position).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        if position < 9 {
            nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
        }
    }
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timestamp { seconds: whole, nanoseconds },
        (true, 0) => Timestamp { seconds: -whole, nanoseconds: 0 },
        // -1.25 s is 0.75 s after -2 s.
        (true, _) => Timestamp { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_are_trimmed_and_garbage_is_refused() {
        assert_eq!(numeric(b"0000644\0"), Some(0o644));
        assert_eq!(numeric(b"  644 \0"), Some(0o644));
        assert_eq!(numeric(b"\0\0\0\0"), Some(0));
        assert_eq!(numeric(b"0008\0"), None);
        assert_eq!(numeric(b"12 34\0"), None);
        assert_eq!(numeric(b"77777777777777777777777\0"), None);
    }

    #[test]
    fn base_256_carries_large_and_negative_numbers() {
        assert_eq!(numeric(&[0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]), Some(0x1234_5678));
        assert_eq!(numeric(&[0xff; 12]), Some(-1));
        assert_eq!(numeric(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]), Some(-2));
        assert_eq!(numeric(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]), Some(i64::MAX));
        assert_eq!(numeric(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(numeric(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let at = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        assert_eq!(pax_time(b"1350244992.023960108"), at(1_350_244_992, 23_960_108));
        assert_eq!(pax_time(b"1.5"), at(1, 500_000_000));
        assert_eq!(pax_time(b"-1.25"), at(-2, 750_000_000));
        assert_eq!(pax_time(b"-3"), at(-3, 0));
        assert_eq!(pax_time(b"2.12345678999"), at(2, 123_456_789));
        assert_eq!(pax_time(b"2."), at(2, 0));
        assert_eq!(pax_time(b"2.1x"), None);
        assert_eq!(pax_time(b""), None);
        assert_eq!(pax_time(b"--1"), None);
    }
}
