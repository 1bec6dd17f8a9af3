//! Reading tar archives: V7, ustar, PAX, GNU, star. No file system here, and memory that does not grow with the
//! archive.

mod header;
mod number;
mod pax;
mod source;
mod sparse;

pub use number::Timestamp;
pub use source::ByteSource;
pub use sparse::Segment;

use crate::{Error, ErrorKind, Result};
use header::{BLOCK, Header, text};
use pax::PaxRecords;

/// Greatest size of one extended header or long name, bytes.
const MAX_METADATA: u64 = 1 << 20;
/// Greatest length of a path (the kernel's `PATH_MAX`), bytes.
pub const MAX_PATH: usize = 4096;

/// What an entry makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    #[default]
    File,
    /// Another name of a file of the same archive.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A fifo.
    Fifo,
}

/// One entry, as the archive tells it: nothing in it may be trusted.
#[derive(Debug, Default)]
pub struct Entry {
    /// What it makes.
    pub kind: EntryKind,
    /// Its name, unchecked.
    pub path: Vec<u8>,
    /// Target of a link, unchecked.
    pub link: Vec<u8>,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Size of a regular file with its holes, bytes.
    pub size: u64,
    /// Major and minor device number.
    pub device: (u32, u32),
    /// Extended attributes, in the archive's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Runs of data of a sparse file; meaningless otherwise.
    pub segments: Vec<Segment>,
    /// The file has holes: its data is to be placed by `segments`.
    pub is_sparse: bool,
}

/// Goes through an archive entry by entry.
pub struct ArchiveReader<S> {
    source: S,
    /// An archive that merely stops between two entries is truncated (nothing else would tell).
    needs_end_marker: bool,
    /// Bytes of the present entry's data that were not read yet.
    data_left: u64,
    padding_left: u64,
    header: [u8; BLOCK],
    metadata: Vec<u8>,
}

/// What precedes an entry and belongs to it.
#[derive(Default)]
struct Prelude {
    long_name: Vec<u8>,
    long_link: Vec<u8>,
    pax: Option<PaxRecords>,
}

impl<S: ByteSource> ArchiveReader<S> {
    /// A reader of `source`; with `needs_end_marker` the archive must end with a block of zeros.
    pub fn new(source: S, needs_end_marker: bool) -> Self {
        let (header, metadata) = ([0; BLOCK], Vec::new());
        Self { source, needs_end_marker, data_left: 0, padding_left: 0, header, metadata }
    }

    /// Reads the next entry into `entry`; false at the end of the archive.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool> {
        let unread = self.data_left + self.padding_left;
        self.skip(unread)?;
        (self.data_left, self.padding_left) = (0, 0);
        let mut prelude = Prelude::default();
        let mut has_prelude = false;
        loop {
            if !self.next_header()? {
                return if has_prelude {
                    Err(malformed("the archive ends in an entry's extended header"))
                } else {
                    Ok(false)
                };
            }
            let size = Header(&self.header).size()?;
            match Header(&self.header).type_flag() {
                b'x' => {
                    self.read_metadata(size)?;
                    prelude.pax = Some(PaxRecords::parse(&self.metadata)?);
                    has_prelude = true;
                }
                b'L' => {
                    self.read_metadata(size)?;
                    prelude.long_name = text(&self.metadata).to_vec();
                    has_prelude = true;
                }
                b'K' => {
                    self.read_metadata(size)?;
                    prelude.long_link = text(&self.metadata).to_vec();
                    has_prelude = true;
                }
                // Global headers carry a comment in practice; what else they say is not applied, as Docker does.
                b'g' | b'V' => {
                    check_metadata_size(size)?;
                    self.skip(padded(size)?)?;
                }
                _ => {
                    self.take_entry(entry, prelude)?;
                    return Ok(true);
                }
            }
        }
    }

    /// The next bytes of the present entry's data; empty when all were read.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.data_left == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.data_left).unwrap_or(usize::MAX);
        let available = self.source.fill()?;
        if available.is_empty() {
            return Err(truncated());
        }
        Ok(&available[..available.len().min(left)])
    }

    /// Marks bytes that [`Self::data`] lent as done.
    pub fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.data_left -= count as u64;
    }

    /// Reads a header block, true, or the end of the archive, false.
    fn next_header(&mut self) -> Result<bool> {
        let count = self.source.read_full(&mut self.header)?;
        match count {
            0 if self.needs_end_marker => return Err(truncated()),
            0 => return Ok(false),
            BLOCK => {}
            _ => return Err(truncated()),
        }
        if self.header[0] != 0 || self.header.iter().any(|byte| *byte != 0) {
            Header(&self.header).verify_checksum()?;
            return Ok(true);
        }
        // Two blocks of zeros end an archive; one alone at the very end of the stream is accepted.
        match self.source.read_full(&mut self.header)? {
            0 => Ok(false),
            BLOCK if self.header.iter().all(|byte| *byte == 0) => Ok(false),
            BLOCK => Err(malformed("the archive has a block of zeros between its entries")),
            _ => Err(truncated()),
        }
    }

    fn take_entry(&mut self, entry: &mut Entry, prelude: Prelude) -> Result<()> {
        let header = Header(&self.header);
        let pax = prelude.pax.unwrap_or_default();
        header.path(&mut entry.path);
        for name in [pax.path, pax.sparse.name, prelude.long_name] {
            if !name.is_empty() {
                entry.path = name;
            }
        }
        let named = |error: Error| error.context(&format!("entry `{}`", display(&entry.path)));
        entry.link.clear();
        let link = [prelude.long_link, pax.link].into_iter().find(|link| !link.is_empty());
        entry.link.extend_from_slice(link.as_deref().unwrap_or(header.link()));
        entry.kind = entry_kind(header.type_flag(), &entry.path).map_err(named)?;
        entry.mode = header.mode().map_err(named)?;
        entry.uid = owner(pax.uid, || header.uid(), "owner").map_err(named)?;
        entry.gid = owner(pax.gid, || header.gid(), "group").map_err(named)?;
        entry.mtime = pax.mtime.map_or_else(|| header.mtime(), Ok).map_err(named)?;
        entry.device = if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            device(header.device().map_err(named)?).map_err(named)?
        } else {
            (0, 0)
        };
        entry.xattrs = pax.xattrs;
        entry.segments.clear();
        entry.is_sparse = false;
        entry.size = 0;
        let mut stored = pax.size.map_or_else(|| header.size(), Ok).map_err(named)?;
        let blocks = padded(stored).map_err(named)?;
        let is_dump_directory = header.type_flag() == b'D';
        match entry.kind {
            EntryKind::File => entry.size = stored,
            // Entries without data: some writers set a size there all the same, and no data follows.
            _ if !is_dump_directory => return Ok(()),
            _ => {}
        }
        self.padding_left = blocks - stored;
        if header.type_flag() == b'S' {
            entry.size = sparse::read_old_gnu(&self.header, &mut self.source, &mut entry.segments).map_err(named)?;
            entry.is_sparse = true;
        } else if pax.sparse.version == (1, 0) {
            let taken = sparse::read_pax_1_0(&mut self.source, stored, &mut entry.segments).map_err(named)?;
            stored = stored.checked_sub(taken).ok_or_else(|| malformed("a sparse map is longer than its entry"))?;
            entry.size = pax.sparse.real_size.ok_or_else(|| malformed("a sparse entry has no size"))?;
            entry.is_sparse = true;
        } else if let Some(real_size) = pax.sparse.real_size {
            entry.segments = pax.sparse.segments;
            entry.size = real_size;
            entry.is_sparse = true;
        }
        if entry.is_sparse {
            sparse::validate(&entry.segments, entry.size, stored).map_err(named)?;
        }
        self.data_left = stored;
        Ok(())
    }

    fn read_metadata(&mut self, size: u64) -> Result<()> {
        check_metadata_size(size)?;
        let blocks = padded(size)? as usize;
        self.metadata.clear();
        self.metadata.resize(blocks, 0);
        if self.source.read_full(&mut self.metadata)? < blocks {
            return Err(truncated());
        }
        self.metadata.truncate(size as usize);
        Ok(())
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let available = self.source.fill()?.len();
            if available == 0 {
                return Err(truncated());
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(available);
            self.source.consume(step);
            count -= step as u64;
        }
        Ok(())
    }
}

fn entry_kind(type_flag: u8, path: &[u8]) -> Result<EntryKind> {
    Ok(match type_flag {
        // V7 had no type for directories.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' | b'D' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(malformed(format!("its type `{}` is unknown", (other as char).escape_default()))),
    })
}

/// An owner or group. The last 32-bit number means "unchanged" to the kernel and is nobody's.
fn owner(pax: Option<u64>, header: impl FnOnce() -> Result<i64>, what: &str) -> Result<u32> {
    let id = match pax {
        Some(id) => i64::try_from(id).unwrap_or(i64::MAX),
        None => header()?,
    };
    let valid = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    valid.ok_or_else(|| malformed(format!("its {what} {id} is out of range")))
}

/// The kernel keeps 12 bits of major and 20 bits of minor number.
fn device((major, minor): (i64, i64)) -> Result<(u32, u32)> {
    if !(0..1 << 12).contains(&major) || !(0..1 << 20).contains(&minor) {
        return Err(malformed(format!("its device number {major}:{minor} is out of range")));
    }
    Ok((major as u32, minor as u32))
}

fn check_metadata_size(size: u64) -> Result<()> {
    if size > MAX_METADATA {
        let message = format!("the archive has an extended header of {size} bytes (at most {MAX_METADATA})");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

fn padded(size: u64) -> Result<u64> {
    if size > i64::MAX as u64 - BLOCK as u64 {
        return Err(malformed(format!("an archive entry has an impossible size ({size} bytes)")));
    }
    Ok(size.next_multiple_of(BLOCK as u64))
}

fn read_block<S: ByteSource>(source: &mut S, block: &mut [u8; BLOCK]) -> Result<()> {
    if source.read_full(block)? < BLOCK {
        return Err(truncated());
    }
    Ok(())
}

/// A name for a message: escaped, and cut when it is very long.
pub fn display(path: &[u8]) -> String {
    const LONGEST: usize = 200;
    let shown: String = String::from_utf8_lossy(&path[..path.len().min(LONGEST)]).escape_debug().collect();
    if path.len() > LONGEST { format!("{shown}…") } else { shown }
}

pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::MalformedArchive, message)
}

pub(super) fn hostile(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::HostileArchive, message)
}

fn truncated() -> Error {
    malformed("the archive is truncated")
}
