//! Packs old log files by zstd or gzip, and compares a packed file with an unpacked one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::file_access;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PackFormat {
    Zstd,
    Gzip,
}

/// The formats in which a file is packed; the next one is for the case that one fails.
pub(super) const FORMATS: &[PackFormat] = if cfg!(feature = "zstd") {
    &[PackFormat::Zstd, PackFormat::Gzip]
} else {
    &[PackFormat::Gzip]
};

impl PackFormat {
    pub(super) fn suffix(self) -> &'static str {
        match self {
            PackFormat::Zstd => ".zst",
            PackFormat::Gzip => ".gz",
        }
    }

    /// Packs the input; returns its size.
    pub(super) fn pack(self, mut input: impl Read, output: &File) -> io::Result<u64> {
        match self {
            #[cfg(feature = "zstd")]
            PackFormat::Zstd => {
                let mut encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                let size = io::copy(&mut input, &mut encoder)?;
                encoder.finish()?;
                Ok(size)
            }
            #[cfg(not(feature = "zstd"))]
            PackFormat::Zstd => Err(io::ErrorKind::Unsupported.into()),
            PackFormat::Gzip => {
                let output = BufWriter::new(output);
                let mut encoder = GzEncoder::new(output, Compression::default());
                let size = io::copy(&mut input, &mut encoder)?;
                encoder.finish()?.flush()?;
                Ok(size)
            }
        }
    }

    pub(super) fn unpack(self, packed: File) -> io::Result<Box<dyn Read>> {
        match self {
            #[cfg(feature = "zstd")]
            PackFormat::Zstd => Ok(Box::new(zstd::Decoder::new(packed)?)),
            #[cfg(not(feature = "zstd"))]
            PackFormat::Zstd => Err(io::ErrorKind::Unsupported.into()),
            PackFormat::Gzip => Ok(Box::new(MultiGzDecoder::new(BufReader::new(packed)))),
        }
    }
}

/// How the contents of two files relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    /// The first one begins with the second one and goes on.
    Continued,
    /// They differ, or one of them cannot be read.
    Other,
}

/// Compares two files, each of which may be packed.
pub(super) fn compare(
    first: &Path,
    second: &Path,
    first_format: Option<PackFormat>,
    second_format: Option<PackFormat>,
) -> Relation {
    let contents = read(first, first_format)
        .and_then(|one| Ok((one, read(second, second_format)?)))
        .and_then(|(one, other)| compare_contents(one, other));
    contents.unwrap_or(Relation::Other)
}

fn read(path: &Path, format: Option<PackFormat>) -> io::Result<Box<dyn Read>> {
    let file = file_access::open(path, OpenOptions::new().read(true))?;
    match format {
        Some(format) => format.unpack(file),
        None => Ok(Box::new(file)),
    }
}

fn compare_contents(mut first: impl Read, second: impl Read) -> io::Result<Relation> {
    let mut second = BufReader::with_capacity(1 << 16, second);
    let mut expected = Vec::new();
    loop {
        let part = io::BufRead::fill_buf(&mut second)?;
        if part.is_empty() {
            let goes_on = first.read(&mut [0])? > 0;
            return Ok(if goes_on {
                Relation::Continued
            } else {
                Relation::Same
            });
        }
        expected.resize(part.len(), 0);
        match first.read_exact(&mut expected) {
            Ok(()) if expected == part => {}
            Ok(()) => return Ok(Relation::Other),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Relation::Other);
            }
            Err(error) => return Err(error),
        }
        let length = part.len();
        io::BufRead::consume(&mut second, length);
    }
}
