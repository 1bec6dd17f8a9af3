//! Names of entries, made safe to use beneath a root: relative, without `.` and `..`.

use super::super::tar::{MAX_PATH, display, hostile, malformed};
use crate::Result;

/// A cleaned path: components joined by `/`; empty for the root itself.
#[derive(Debug, Default)]
pub struct CleanPath {
    bytes: Vec<u8>,
    /// Where the last component begins.
    leaf_start: usize,
}

impl CleanPath {
    /// Cleans `raw` as Docker does (leading slashes and `.` fall away), but refuses `..` instead of resolving it.
    /// `what` names the raw path's role in messages ("entry", "hard link target").
    pub fn assign(&mut self, raw: &[u8], what: &str) -> Result<()> {
        self.bytes.clear();
        self.leaf_start = 0;
        if raw.is_empty() {
            return Err(malformed(format!("the archive has an {what} without a name")));
        }
        if raw.contains(&0) {
            return Err(hostile(format!("{what} `{}` has a NUL character in its name", display(raw))));
        }
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(hostile(format!("{what} `{}` has `..` in its name", display(raw)))),
                _ => {
                    if !self.bytes.is_empty() {
                        self.bytes.push(b'/');
                    }
                    self.leaf_start = self.bytes.len();
                    self.bytes.extend_from_slice(component);
                }
            }
        }
        if self.bytes.len() >= MAX_PATH {
            return Err(malformed(format!("{what} `{}` has a name of more than {MAX_PATH} bytes", display(raw))));
        }
        Ok(())
    }

    /// The whole path.
    pub fn path(&self) -> &[u8] {
        &self.bytes
    }

    /// All but the last component; empty for the root.
    pub fn parent(&self) -> &[u8] {
        &self.bytes[..self.leaf_start.saturating_sub(1)]
    }

    /// The last component.
    pub fn leaf(&self) -> &[u8] {
        &self.bytes[self.leaf_start..]
    }

    /// The root itself.
    pub fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn clean(raw: &[u8]) -> Result<CleanPath> {
        let mut path = CleanPath::default();
        path.assign(raw, "entry").map(|()| path)
    }

    #[test]
    fn names_are_made_relative() {
        for raw in [&b"a/b"[..], b"/a/b", b"./a/./b/", b"//a//b//"] {
            let path = clean(raw).unwrap();
            assert_eq!((path.path(), path.parent(), path.leaf()), (&b"a/b"[..], &b"a"[..], &b"b"[..]));
        }
        let path = clean(b"a").unwrap();
        assert_eq!((path.parent(), path.leaf()), (&b""[..], &b"a"[..]));
        for raw in [&b"."[..], b"./", b"/"] {
            assert!(clean(raw).unwrap().is_root());
        }
    }

    #[test]
    fn what_leads_out_is_refused() {
        for raw in [&b".."[..], b"../x", b"a/../../x", b"a/..", b"/../x", b"a\0b"] {
            assert_eq!(clean(raw).unwrap_err().kind, ErrorKind::HostileArchive, "{raw:?}");
        }
        assert!(clean(b"..a/b..").is_ok());
        assert_eq!(clean(b"").unwrap_err().kind, ErrorKind::MalformedArchive);
        assert_eq!(clean(&[b'a'; 4096]).unwrap_err().kind, ErrorKind::MalformedArchive);
    }
}
