//! Content digests as registries write them: an algorithm, a colon, lower-case hexadecimal digits.

use std::fmt::{self, Write as _};

use ring::digest::{Algorithm, Context, SHA256, SHA512};

use crate::{Error, ErrorKind, Result};

/// A digest of an algorithm that this crate can compute: `sha256` or `sha512`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Digest(String);

impl Digest {
    /// Parses `sha256:` with 64 or `sha512:` with 128 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let digits = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => hex,
            Some(("sha512", hex)) if hex.len() == 128 => hex,
            _ => "",
        };
        if digits.is_empty() || !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            let shown: String = text.chars().take(140).flat_map(char::escape_debug).collect();
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{shown}` is not a digest such as `sha256:` with 64 hexadecimal digits"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The digest as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Begins to hash with this digest's algorithm.
    pub(crate) fn hasher(&self) -> Hasher {
        let (name, algorithm): (_, &'static Algorithm) =
            if self.0.starts_with("sha512:") { ("sha512", &SHA512) } else { ("sha256", &SHA256) };
        Hasher { name, context: Context::new(algorithm) }
    }

    /// What `content` has as its digest of the same algorithm.
    pub(crate) fn of_same_algorithm(&self, content: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(content);
        hasher.finish()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A digest in the making.
pub(crate) struct Hasher {
    name: &'static str,
    context: Context,
}

impl Hasher {
    /// Adds content.
    pub(crate) fn update(&mut self, content: &[u8]) {
        self.context.update(content);
    }

    /// The digest of everything added.
    pub(crate) fn finish(self) -> Digest {
        let mut text = format!("{}:", self.name);
        for byte in self.context.finish().as_ref() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_empty_digest() {
        let digest = Digest::parse(EMPTY).unwrap();
        assert_eq!(digest.of_same_algorithm(b""), digest);
        assert_ne!(digest.of_same_algorithm(b"x"), digest);
    }

    #[test]
    fn other_spellings_are_refused() {
        let upper = EMPTY.to_uppercase();
        let wide = format!("sha512:{}", "0".repeat(64));
        for text in ["", "sha256:", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper, &EMPTY[7..], &wide] {
            assert_eq!(Digest::parse(text).unwrap_err().kind, ErrorKind::InvalidArgument, "{text}");
        }
        assert!(Digest::parse(&format!("sha512:{}", "0".repeat(128))).is_ok());
    }
}
