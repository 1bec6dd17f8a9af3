//! Sparse files: the old GNU form and PAX formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").

use super::header::BLOCK;
use super::number::{decimal, numeric};
use super::source::ByteSource;
use super::{malformed, read_block};
use crate::{Error, ErrorKind, Result};

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where the run begins in the file, bytes.
    pub offset: u64,
    /// Its length, bytes.
    pub length: u64,
}

/// More runs than any real file has; bounds the memory that a map can take.
const MAX_SEGMENTS: usize = 262_144;

/// Reads the map of an old GNU sparse entry (its header is in `header`, extension blocks follow in `source`), and
/// returns the file's real size.
pub fn read_old_gnu<S: ByteSource>(header: &[u8; BLOCK], source: &mut S, segments: &mut Vec<Segment>) -> Result<u64> {
    let real_size = numeric(&header[483..495]).and_then(|size| u64::try_from(size).ok());
    let real_size = real_size.ok_or_else(|| malformed("a sparse entry has a malformed size"))?;
    take_descriptors(&header[386..482], segments)?;
    let mut has_more = header[482] != 0;
    let mut block = [0u8; BLOCK];
    while has_more {
        read_block(source, &mut block)?;
        take_descriptors(&block[..504], segments)?;
        has_more = block[504] != 0;
    }
    Ok(real_size)
}

fn take_descriptors(descriptors: &[u8], segments: &mut Vec<Segment>) -> Result<()> {
    for descriptor in descriptors.chunks_exact(24) {
        if descriptor[0] == 0 {
            break;
        }
        let part = |range| numeric(&descriptor[range]).and_then(|value| u64::try_from(value).ok());
        let (Some(offset), Some(length)) = (part(0..12), part(12..24)) else {
            return Err(malformed("malformed sparse map"));
        };
        push(segments, Segment { offset, length })?;
    }
    Ok(())
}

fn push(segments: &mut Vec<Segment>, segment: Segment) -> Result<()> {
    if segments.len() >= MAX_SEGMENTS {
        let message = format!("a sparse file has more than {MAX_SEGMENTS} pieces");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    segments.push(segment);
    Ok(())
}

/// Reads the map of PAX format 1.0 from the head of an entry's data: decimal lines, padded to a whole block. Returns
/// the bytes it took; `stored` is how many the entry has.
pub fn read_pax_1_0<S: ByteSource>(source: &mut S, stored: u64, segments: &mut Vec<Segment>) -> Result<u64> {
    let mut lines = Lines { source, block: [0; BLOCK], position: BLOCK, taken: 0, stored };
    let count = lines.next_number()?;
    for _ in 0..count {
        let segment = Segment { offset: lines.next_number()?, length: lines.next_number()? };
        push(segments, segment)?;
    }
    Ok(lines.taken)
}

struct Lines<'a, S> {
    source: &'a mut S,
    block: [u8; BLOCK],
    position: usize,
    taken: u64,
    stored: u64,
}

impl<S: ByteSource> Lines<'_, S> {
    fn next_number(&mut self) -> Result<u64> {
        let mut digits = [0u8; 20];
        for length in 0..=digits.len() {
            let byte = self.next_byte()?;
            if byte == b'\n' {
                return decimal(&digits[..length]).ok_or_else(|| malformed("malformed sparse map"));
            }
            if length < digits.len() {
                digits[length] = byte;
            }
        }
        Err(malformed("malformed sparse map"))
    }

    fn next_byte(&mut self) -> Result<u8> {
        if self.position == BLOCK {
            if self.taken >= self.stored {
                return Err(malformed("a sparse map is longer than its entry"));
            }
            read_block(self.source, &mut self.block)?;
            self.taken += BLOCK as u64;
            self.position = 0;
        }
        self.position += 1;
        Ok(self.block[self.position - 1])
    }
}

/// Fails unless the runs are in order, apart, within the file, and as long together as the data that follows.
pub fn validate(segments: &[Segment], real_size: u64, stored: u64) -> Result<()> {
    let (mut end, mut total) = (0u64, 0u64);
    for segment in segments {
        let next = segment.offset.checked_add(segment.length);
        let Some(next) = next.filter(|next| segment.offset >= end && *next <= real_size) else {
            return Err(malformed("a sparse map has pieces that overlap or lie outside of the file"));
        };
        end = next;
        total += segment.length;
    }
    if total != stored {
        return Err(malformed("a sparse map does not add up to the data of its entry"));
    }
    Ok(())
}
