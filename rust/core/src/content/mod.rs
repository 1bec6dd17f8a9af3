//! Blobs by digest: manifests, configurations and whatever else is kept as it came.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustix::fs::{Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;

use crate::scratch::Scratch;
use crate::{Error, ErrorKind, Result};

/// Greatest blob that is kept here, bytes: documents, not layers.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;

/// Small blobs beneath `blobs/sha256/`.
#[derive(Debug)]
pub struct ContentStore {
    scratch: Arc<Scratch>,
    folder: OwnedFd,
}

impl ContentStore {
    /// Opens the store that `scratch` belongs to.
    pub fn open(scratch: Arc<Scratch>) -> Result<Self> {
        let folder = scratch.folder("blobs/sha256")?;
        Ok(Self { scratch, folder })
    }

    /// Keeps `data` and returns its digest; kind `DigestMismatch` when that is not `expected`.
    pub fn put(&self, data: &[u8], expected: Option<&str>) -> Result<String> {
        let found = digest_of(data);
        if let Some(expected) = expected {
            hex_of(expected)?;
            if expected != found {
                return Err(mismatch(expected, &found));
            }
        }
        if data.len() as u64 > MAX_BLOB_BYTES {
            let message = format!("the blob `{found}` is larger than {MAX_BLOB_BYTES} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let name = hex_of(&found)?;
        if self.has(&found)? {
            return Ok(found);
        }
        let folder = self.scratch.new_folder()?;
        let io = |cause: std::io::Error| Error::io("keep the blob", &folder.path(), cause);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: File = openat(folder.fd(), "blob", flags, mode).map_err(|errno| io(errno.into()))?.into();
        file.write_all(data).and_then(|()| file.sync_all()).map_err(io)?;
        match renameat_with(folder.fd(), "blob", &self.folder, name, RenameFlags::NOREPLACE) {
            // Somebody else kept the same bytes meanwhile.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(io(errno.into())),
        }
        rustix::fs::fsync(&self.folder).map_err(|errno| io(errno.into()))?;
        folder.remove()?;
        Ok(found)
    }

    /// The blob, checked against its digest.
    pub fn read(&self, digest: &str) -> Result<Vec<u8>> {
        let name = hex_of(digest)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file: File = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::NOENT) => {
                return Err(Error::new(ErrorKind::NotFound, format!("the blob `{digest}` is not here")));
            }
            Err(errno) => return Err(Error::io("open the blob", Path::new(digest), errno)),
        };
        let mut data = Vec::new();
        let read = file.take(MAX_BLOB_BYTES + 1).read_to_end(&mut data);
        read.map_err(|cause| Error::io("read the blob", Path::new(digest), cause))?;
        let found = digest_of(&data);
        if found != digest {
            return Err(mismatch(digest, &found));
        }
        Ok(data)
    }

    /// Whether the blob is here.
    pub fn has(&self, digest: &str) -> Result<bool> {
        match rustix::fs::statat(&self.folder, hex_of(digest)?, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(Error::io("look for the blob", Path::new(digest), errno)),
        }
    }

    /// Removes a blob; no error when it is gone.
    pub fn remove(&self, digest: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.folder, hex_of(digest)?, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("remove the blob", Path::new(digest), errno)),
        }
    }

    /// The digests of all blobs, sorted.
    pub fn list(&self) -> Result<Vec<String>> {
        list_digests(&self.folder)
    }
}

/// The digests whose hexadecimal forms are names in `folder`, sorted.
pub(crate) fn list_digests(folder: &OwnedFd) -> Result<Vec<String>> {
    let names = crate::scratch::names(folder.as_fd())?;
    let digests = names.iter().filter_map(|name| name.to_str()).map(|name| format!("sha256:{name}"));
    let mut digests: Vec<String> = digests.filter(|digest| hex_of(digest).is_ok()).collect();
    digests.sort_unstable();
    Ok(digests)
}

/// The digest of `data`.
#[must_use]
pub fn digest_of(data: &[u8]) -> String {
    digest_name(digest(&SHA256, data).as_ref())
}

/// `sha256:…` of a finished hash.
#[must_use]
pub fn digest_name(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(7 + hash.len() * 2);
    name.push_str("sha256:");
    for byte in hash {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The 64 hexadecimal digits of a digest, which are its file name; kind `InvalidArgument` when it is no SHA-256 digest.
pub fn hex_of(digest: &str) -> Result<&str> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(hex);
    }
    let message = format!("`{}` is not a SHA-256 digest", digest.escape_debug());
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// The error of content that is not what it should be.
#[must_use]
pub fn mismatch(expected: &str, found: &str) -> Error {
    let message = format!("the content has the digest `{found}` instead of `{expected}`");
    Error::new(ErrorKind::DigestMismatch, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ContentStore) {
        let root = tempfile::tempdir().unwrap();
        let store = ContentStore::open(Scratch::open(root.path()).unwrap()).unwrap();
        (root, store)
    }

    #[test]
    fn blobs_are_kept_checked_and_removed() {
        let (root, store) = store();
        let digest = store.put(b"{}", None).unwrap();
        assert_eq!(digest, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(store.put(b"{}", Some(&digest)).unwrap(), digest);
        assert_eq!(store.read(&digest).unwrap(), b"{}");
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&digest));
        assert_eq!(std::fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
        std::fs::write(root.path().join("blobs/sha256").join(&digest[7..]), "{ }").unwrap();
        assert_eq!(store.read(&digest).unwrap_err().kind, ErrorKind::DigestMismatch);
        store.remove(&digest).unwrap();
        store.remove(&digest).unwrap();
        assert_eq!(store.read(&digest).unwrap_err().kind, ErrorKind::NotFound);
        assert!(!store.has(&digest).unwrap());
    }

    #[test]
    fn wrong_and_malformed_digests_are_refused() {
        let (_root, store) = store();
        let other = digest_of(b"other");
        assert_eq!(store.put(b"{}", Some(&other)).unwrap_err().kind, ErrorKind::DigestMismatch);
        assert!(!store.has(&other).unwrap());
        for bad in ["", "sha256:", "sha256:../../etc/passwd", "md5:abc", &other.to_uppercase(), &format!("{other}0")] {
            assert_eq!(store.read(bad).unwrap_err().kind, ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
