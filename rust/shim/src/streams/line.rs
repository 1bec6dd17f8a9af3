//! Cutting a stream into log records: at newlines, and where a line is too long to be held.

/// A line without an end is cut after this many bytes, as with Docker.
const MAX_LINE_BYTES: usize = 16 << 10;

/// The unfinished line of one stream.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
}

impl Splitter {
    /// Takes bytes and gives records; with `is_end`, also what has no newline.
    pub fn split(&mut self, mut bytes: &[u8], is_end: bool, mut record: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = MAX_LINE_BYTES - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let length = match window.iter().position(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None if window.len() < room => {
                    self.partial.extend_from_slice(window);
                    break;
                }
                None => room,
            };
            let (head, rest) = bytes.split_at(length);
            bytes = rest;
            if self.partial.is_empty() && head.ends_with(b"\n") {
                record(head);
                continue;
            }
            self.partial.extend_from_slice(head);
            if self.partial.ends_with(b"\n") {
                record(&self.partial);
                self.partial.clear();
            } else {
                // Not through the middle of a character.
                let cut = self.partial.len() - incomplete_tail(&self.partial);
                record(&self.partial[..cut]);
                self.partial.drain(..cut);
            }
        }
        if is_end && !self.partial.is_empty() {
            record(&self.partial);
            self.partial.clear();
        }
    }
}

/// How many bytes at the end begin a UTF-8 character that is not whole.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let needed = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for part in parts {
            splitter.split(part, false, |record| found.push(record.to_vec()));
        }
        splitter.split(&[], true, |record| found.push(record.to_vec()));
        found
    }

    #[test]
    fn lines_in_pieces() {
        assert_eq!(records(&[b"a\nb", b"c\n\nd"]), [&b"a\n"[..], b"bc\n", b"\n", b"d"]);
        assert!(records(&[]).is_empty());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut text = "x".repeat(MAX_LINE_BYTES - 1);
        text.push('é');
        text.push_str("end\n");
        let found = records(&[text.as_bytes()]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].len(), MAX_LINE_BYTES - 1);
        assert_eq!(found[1], "éend\n".as_bytes());
        assert_eq!(found.concat(), text.as_bytes());
        let bytes = vec![0x80; 3 * MAX_LINE_BYTES];
        assert_eq!(records(&[&bytes]).concat(), bytes);
    }
}
