//! Where archive bytes come from.

use crate::Result;

/// A stream of bytes that lends what it has buffered.
pub trait ByteSource {
    /// Bytes that were not consumed yet; empty at the end of the stream only.
    fn fill(&mut self) -> Result<&[u8]>;

    /// Marks the first `count` bytes of what [`Self::fill`] lent as done.
    fn consume(&mut self, count: usize);

    /// Fills `buffer` and returns how many bytes there were: fewer than its length at the end of the stream only.
    fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let available = self.fill()?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&available[..count]);
            self.consume(count);
            done += count;
        }
        Ok(done)
    }
}

impl<S: ByteSource> ByteSource for &mut S {
    fn fill(&mut self) -> Result<&[u8]> {
        (**self).fill()
    }

    fn consume(&mut self, count: usize) {
        (**self).consume(count);
    }
}

impl ByteSource for &[u8] {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = &self[count..];
    }
}
