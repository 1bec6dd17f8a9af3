//! PAX extended headers: `length key=value\n` records (POSIX.1-2017 `pax`, "pax Extended Header").

use super::malformed;
use super::number::{Timestamp, decimal, pax_time};
use super::sparse::Segment;
use crate::Result;

/// What an extended header says of the next entry. An empty value means what its absence means.
#[derive(Debug, Default)]
pub struct PaxRecords {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Timestamp>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

/// The `GNU.sparse.*` records of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub struct PaxSparse {
    /// Major and minor version; only 1.0 names it.
    pub version: (u64, u64),
    /// The file's name in formats 0.1 and 1.0 (the header has a made-up one).
    pub name: Vec<u8>,
    /// The file's size with its holes.
    pub real_size: Option<u64>,
    /// The map of formats 0.0 and 0.1.
    pub segments: Vec<Segment>,
    /// An offset of format 0.0 that waits for its length.
    pending_offset: Option<u64>,
}

impl PaxRecords {
    /// Parses a whole extended header.
    pub fn parse(mut records: &[u8]) -> Result<Self> {
        let mut parsed = Self::default();
        while !records.is_empty() {
            let (key, value, rest) = split_record(records).ok_or_else(|| malformed("malformed PAX record"))?;
            parsed.take(key, value)?;
            records = rest;
        }
        Ok(parsed)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let number = || optional(value, decimal, key);
        match key {
            b"path" => self.path = name(key, value)?,
            b"linkpath" => self.link = name(key, value)?,
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" => self.mtime = optional(value, pax_time, key)?,
            b"GNU.sparse.major" => self.sparse.version.0 = number()?.unwrap_or(0),
            b"GNU.sparse.minor" => self.sparse.version.1 = number()?.unwrap_or(0),
            b"GNU.sparse.name" => self.sparse.name = name(key, value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = number()?,
            b"GNU.sparse.offset" => self.sparse.pending_offset = number()?,
            b"GNU.sparse.numbytes" => {
                let (Some(offset), Some(length)) = (self.sparse.pending_offset.take(), number()?) else {
                    return Err(malformed("a sparse map has a length without an offset"));
                };
                self.sparse.segments.push(Segment { offset, length });
            }
            b"GNU.sparse.map" => self.sparse.segments = comma_map(value)?,
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(present, _)| present != attribute);
                    self.xattrs.push((attribute.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record off: its key, its value and what follows.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..blank])?).ok()?;
    if length <= blank + 1 || length > records.len() || records[length - 1] != b'\n' {
        return None;
    }
    let record = &records[blank + 1..length - 1];
    let equals = record.iter().position(|byte| *byte == b'=')?;
    if equals == 0 || record[..equals].contains(&0) {
        return None;
    }
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>, key: &[u8]) -> Result<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    let bad = || malformed(format!("malformed PAX value of `{}`", String::from_utf8_lossy(key)));
    parse(value).map(Some).ok_or_else(bad)
}

fn name(key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        let key = String::from_utf8_lossy(key);
        return Err(super::hostile(format!("the PAX value of `{key}` has a NUL character in it")));
    }
    Ok(value.to_vec())
}

fn comma_map(value: &[u8]) -> Result<Vec<Segment>> {
    let bad = || malformed("malformed sparse map");
    let mut segments = Vec::new();
    let mut numbers = value.split(|byte| *byte == b',').filter(|text| !text.is_empty());
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(bad)?;
        let offset = decimal(offset).ok_or_else(bad)?;
        segments.push(Segment { offset, length: decimal(length).ok_or_else(bad)? });
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn records_are_split_by_their_length() {
        let parsed = PaxRecords::parse(b"12 path=a\nb\n11 uid=789\n20 SCHILY.xattr.u=\0\n").unwrap();
        assert_eq!(parsed.path, b"a\nb");
        assert_eq!(parsed.uid, Some(789));
        assert_eq!(parsed.xattrs, [(b"u".to_vec(), b"\0".to_vec())]);
    }

    #[test]
    fn malformed_records_are_errors() {
        for bad in [
            &b"99 path=a\n"[..],
            b"0 path=a\n",
            b"2 \n",
            b"9 path=ab\n",
            b"x path=a\n",
            b"10 =abcde\n",
            b"9 pathab\n",
            b"9223372036854775807 a=b\n",
            b"11 uid=-78\n",
            b"30",
        ] {
            let error = PaxRecords::parse(bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::MalformedArchive, "{bad:?}");
        }
    }

    #[test]
    fn a_nul_in_a_name_is_hostile() {
        assert_eq!(PaxRecords::parse(b"12 path=a\0b\n").unwrap_err().kind, ErrorKind::HostileArchive);
    }

    #[test]
    fn an_empty_value_takes_back_an_earlier_one() {
        let parsed = PaxRecords::parse(b"9 path=a\n8 path=\n9 size=5\n8 size=\n").unwrap();
        assert!(parsed.path.is_empty());
        assert_eq!(parsed.size, None);
    }
}
