//! The 512-byte header block: POSIX ustar, GNU and the old V7 form (POSIX.1-2017 `pax`, "ustar Interchange Format";
//! GNU tar manual, "Basic Tar Format").

use super::malformed;
use super::number::{Timestamp, numeric};
use crate::Result;

/// Size of everything in an archive, bytes.
pub const BLOCK: usize = 512;

/// A view of one header block.
pub struct Header<'a>(pub &'a [u8; BLOCK]);

/// Which dialect the magic names; it decides what bytes 345 and following mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header<'_> {
    /// Fails unless the checksum is that of the block, with bytes summed as unsigned or (historic) as signed.
    pub fn verify_checksum(&self) -> Result<()> {
        let stored = numeric(&self.0[148..156]);
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (index, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&index) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored == Some(unsigned) || stored == Some(signed) {
            return Ok(());
        }
        Err(malformed("the archive has a block that is no header (its checksum is wrong)"))
    }

    /// The type flag.
    pub fn type_flag(&self) -> u8 {
        self.0[156]
    }

    fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") && self.0[508..512] == *b"tar\0" => Dialect::Star,
            magic if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The name, with the prefix of the POSIX form.
    pub fn path(&self, path: &mut Vec<u8>) {
        path.clear();
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        if !prefix.is_empty() {
            path.extend_from_slice(prefix);
            path.push(b'/');
        }
        path.extend_from_slice(text(&self.0[..100]));
    }

    /// The link target.
    pub fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    /// The permission bits.
    pub fn mode(&self) -> Result<u32> {
        Ok((self.field(100..108, "mode")? & 0o7777) as u32)
    }

    /// The owner; the range is checked once PAX records had their say.
    pub fn uid(&self) -> Result<i64> {
        self.field(108..116, "owner")
    }

    /// The group.
    pub fn gid(&self) -> Result<i64> {
        self.field(116..124, "group")
    }

    /// Bytes of data that follow.
    pub fn size(&self) -> Result<u64> {
        let size = self.field(124..136, "size")?;
        u64::try_from(size).map_err(|_| malformed("an archive entry has a negative size"))
    }

    /// The modification time.
    pub fn mtime(&self) -> Result<Timestamp> {
        Ok(Timestamp { seconds: self.field(136..148, "time")?, nanoseconds: 0 })
    }

    /// Major and minor device number.
    pub fn device(&self) -> Result<(i64, i64)> {
        Ok((self.field(329..337, "device number")?, self.field(337..345, "device number")?))
    }

    fn field(&self, range: std::ops::Range<usize>, what: &str) -> Result<i64> {
        numeric(&self.0[range]).ok_or_else(|| malformed(format!("an archive entry has a malformed {what}")))
    }
}

/// A text field: up to its first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}
