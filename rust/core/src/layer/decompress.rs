//! Compressed streams: gzip of one or more members, zstd of one or more frames, or nothing at all.

use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, Operation};

use super::tar::malformed;
use crate::{Error, ErrorKind, Result};

const INPUT_BYTES: usize = 128 * 1024;
const GZIP_WINDOW_BITS: u8 = 15;

/// Yields the uncompressed bytes of a stream whose compression is told by its first bytes.
pub struct Decompressor<'r> {
    input: Input<'r>,
    codec: Codec,
}

enum Codec {
    Plain,
    Gzip {
        inflate: Box<Decompress>,
        /// Between the end of a member and the next one.
        is_between: bool,
    },
    Zstd {
        decoder: Box<ZstdDecoder<'static>>,
        is_in_frame: bool,
    },
}

impl<'r> Decompressor<'r> {
    /// Reads the first bytes of `reader` to tell its compression.
    pub fn new(reader: &'r mut (dyn Read + Send)) -> Result<Self> {
        let mut input = Input { reader, buffer: vec![0; INPUT_BYTES], start: 0, end: 0, is_at_end: false };
        while input.available().len() < 6 && !input.is_at_end {
            input.read_more()?;
        }
        let codec = match input.available() {
            [0x1f, 0x8b, ..] => Codec::Gzip { inflate: new_gzip(), is_between: false },
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let decoder = ZstdDecoder::new().map_err(|cause| zstd_error(&cause))?;
                Codec::Zstd { decoder: Box::new(decoder), is_in_frame: false }
            }
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => return Err(unsupported("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Err(unsupported("xz")),
            _ => Codec::Plain,
        };
        Ok(Self { input, codec })
    }

    /// Fills the beginning of `output` and returns how much; 0 at the end only, which is reached after the reader's own.
    pub fn read(&mut self, output: &mut [u8]) -> Result<usize> {
        match &mut self.codec {
            Codec::Plain => self.input.read_plain(output),
            Codec::Gzip { inflate, is_between } => read_gzip(&mut self.input, inflate, is_between, output),
            Codec::Zstd { decoder, is_in_frame } => read_zstd(&mut self.input, decoder, is_in_frame, output),
        }
    }
}

struct Input<'r> {
    reader: &'r mut (dyn Read + Send),
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_at_end: bool,
}

impl Input<'_> {
    fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Unread bytes; empty at the end only.
    fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end && !self.is_at_end {
            (self.start, self.end) = (0, 0);
            self.read_more()?;
        }
        Ok(self.available())
    }

    fn read_more(&mut self) -> Result<()> {
        let count = read_retrying(self.reader, &mut self.buffer[self.end..])?;
        self.is_at_end = count == 0;
        self.end += count;
        Ok(())
    }

    fn read_plain(&mut self, output: &mut [u8]) -> Result<usize> {
        // Past the buffered first bytes there is nothing to gain from another copy.
        if self.start == self.end {
            return if self.is_at_end { Ok(0) } else { read_retrying(self.reader, output) };
        }
        let count = self.available().len().min(output.len());
        output[..count].copy_from_slice(&self.available()[..count]);
        self.start += count;
        Ok(count)
    }
}

fn read_retrying(reader: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(reader_error(cause)),
            Ok(count) => return Ok(count),
        }
    }
}

/// The error that a reader wrapped, or one that says that reading failed.
fn reader_error(cause: std::io::Error) -> Error {
    let errno = cause.raw_os_error();
    cause.downcast::<Error>().unwrap_or_else(|cause| {
        let mut error = Error::new(ErrorKind::Io, format!("cannot read the archive: {cause}"));
        error.errno = errno;
        error
    })
}

fn new_gzip() -> Box<Decompress> {
    Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS))
}

fn read_gzip(
    input: &mut Input<'_>,
    inflate: &mut Box<Decompress>,
    is_between: &mut bool,
    output: &mut [u8],
) -> Result<usize> {
    loop {
        if *is_between && !begin_member(input, inflate, is_between)? {
            return Ok(0);
        }
        let available = input.fill()?;
        let is_empty = available.is_empty();
        let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
        let outcome = inflate.decompress(available, output, FlushDecompress::None);
        let status = outcome.map_err(|_| malformed("the gzip stream is corrupt"))?;
        input.start += (inflate.total_in() - read_before) as usize;
        let written = (inflate.total_out() - written_before) as usize;
        *is_between = status == Status::StreamEnd;
        if written > 0 {
            return Ok(written);
        }
        if is_empty && !*is_between {
            return Err(malformed("the gzip stream is truncated"));
        }
    }
}

/// After a member: another one (true), or zeros to the end (false).
fn begin_member(input: &mut Input<'_>, inflate: &mut Box<Decompress>, is_between: &mut bool) -> Result<bool> {
    match input.fill()?.first() {
        None => Ok(false),
        Some(0x1f) => {
            **inflate = Decompress::new_gzip(GZIP_WINDOW_BITS);
            *is_between = false;
            Ok(true)
        }
        Some(_) => loop {
            let available = input.fill()?;
            if available.is_empty() {
                return Ok(false);
            }
            if available.iter().any(|byte| *byte != 0) {
                return Err(malformed("the gzip stream is followed by other bytes"));
            }
            input.start = input.end;
        },
    }
}

fn read_zstd(
    input: &mut Input<'_>,
    decoder: &mut ZstdDecoder<'static>,
    is_in_frame: &mut bool,
    output: &mut [u8],
) -> Result<usize> {
    loop {
        let available = input.fill()?;
        let is_empty = available.is_empty();
        if is_empty && !*is_in_frame {
            return Ok(0);
        }
        let status = decoder.run_on_buffers(available, output).map_err(|cause| zstd_error(&cause))?;
        input.start += status.bytes_read;
        *is_in_frame = status.remaining != 0;
        if status.bytes_written > 0 {
            return Ok(status.bytes_written);
        }
        if is_empty && *is_in_frame {
            return Err(malformed("the zstd stream is truncated"));
        }
    }
}

fn zstd_error(cause: &std::io::Error) -> Error {
    malformed(format!("the zstd stream is corrupt: {cause}"))
}

fn unsupported(name: &str) -> Error {
    malformed(format!("the archive is compressed with {name}; gzip, zstd and uncompressed archives are understood"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(mut stream: &[u8]) -> Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(&mut stream)?;
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            let count = decompressor.read(&mut buffer)?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }

    fn sample() -> Vec<u8> {
        (0..300_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    #[test]
    fn members_and_frames_are_joined() {
        let (first, second) = (sample(), b"second".to_vec());
        let both = [first.clone(), second.clone()].concat();
        assert_eq!(decompress(&[gzip(&first), gzip(&[]), gzip(&second)].concat()).unwrap(), both);
        let zstd = |data: &[u8]| zstd::encode_all(data, 3).unwrap();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let stream = [&skippable[..], &zstd(&first), &skippable, &zstd(&second), &skippable].concat();
        assert_eq!(decompress(&stream).unwrap(), both);
        assert_eq!(decompress(&both).unwrap(), both);
        assert!(decompress(&[]).unwrap().is_empty());
    }

    #[test]
    fn zeros_may_follow_a_gzip_stream_and_nothing_else() {
        let data = sample();
        let padded = [gzip(&data), vec![0; 100_000]].concat();
        assert_eq!(decompress(&padded).unwrap(), data);
        for tail in [&b"x"[..], b"\0\0x", &[0x1f, 0x8b, 0xff], &[0x1f]] {
            let error = decompress(&[&gzip(&data), tail].concat()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::MalformedArchive, "{tail:?}");
        }
        let zstd = zstd::encode_all(&data[..], 3).unwrap();
        assert!(decompress(&[&zstd[..], b"garbage"].concat()).is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let data = &sample()[..5000];
        for stream in [gzip(data), zstd::encode_all(data, 3).unwrap()] {
            for length in 6..stream.len() {
                assert_eq!(decompress(&stream[..length]).unwrap_err().kind, ErrorKind::MalformedArchive, "{length}");
            }
        }
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let mut stream = gzip(&sample());
        let position = stream.len() - 6;
        stream[position] ^= 1;
        assert_eq!(decompress(&stream).unwrap_err().kind, ErrorKind::MalformedArchive);
    }

    #[test]
    fn an_error_inside_of_the_reader_comes_back_unchanged() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other(Error::new(ErrorKind::DigestMismatch, "not what was asked for")))
            }
        }
        let error = Decompressor::new(&mut Failing).err().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::DigestMismatch, "not what was asked for"));
    }
}
