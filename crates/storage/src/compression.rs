//! Compression of layers and archives: told by the first bytes, done in this process.
//!
//! Never a helper program: one was found inside the container and run as root (CVE-2026-41567).
//! Every format may be a sequence of members or frames, as pigz, zstd and bzip2 in parallel write
//! them. Levels are fixed, since the digests of what we compress must not change within a release.

use std::io::{self, BufReader, Read, Write};

use flate2::GzBuilder;

/// Enough for every magic.
const MAGIC_BYTES: usize = 6;
/// One read of the source.
const INPUT_BUFFER_BYTES: usize = 64 * 1024;
/// Memory that an xz stream may ask of us; its own highest preset needs 65 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// 128 MiB: the largest window that zstd itself accepts without being asked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Docker's level.
const GZIP_LEVEL: u32 = 6;
/// zstd's default.
const ZSTD_LEVEL: i32 = 3;
/// In a gzip header: operating system unknown, so that the bytes say nothing of where they are from.
const GZIP_SYSTEM_UNKNOWN: u8 = 255;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// bzip2; only read.
    Bzip2,
    /// xz; only read.
    Xz,
}

impl Compression {
    /// Tells the compression by the first bytes.
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame before one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Looks at the first bytes of a stream and gives the decoder for it.
pub fn decode<'a>(
    mut source: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut start = [0; MAGIC_BYTES];
    let mut length = 0;
    while length < MAGIC_BYTES {
        match source.read(&mut start[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let compression = Compression::detect(&start[..length]);
    let whole = io::Cursor::new(start).take(length as u64).chain(source);
    Ok((compression, decode_as(compression, whole)?))
}

/// A source that gives at least one byte.
///
/// # Errors
/// Where it has none: a pipe whose writer failed. An archive of nothing has an end marker still.
pub fn filled(mut source: impl Read + Send) -> io::Result<impl Read + Send> {
    let mut first = Vec::with_capacity(1);
    source.by_ref().take(1).read_to_end(&mut first)?;
    match first.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it is empty (0 bytes): what was to write it may have failed",
        )),
        false => Ok(io::Cursor::new(first).chain(source)),
    }
}

/// The decoder of a known compression.
pub fn decode_as<'a>(
    compression: Compression,
    source: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let buffered = |source| BufReader::with_capacity(INPUT_BUFFER_BYTES, source);
    Ok(match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(source))),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(source))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(source))),
        Compression::Xz => {
            let stream = xz2::stream::Stream::new_stream_decoder(
                XZ_MEMORY_BYTES_MAX,
                xz2::stream::CONCATENATED,
            )?;
            Box::new(xz2::bufread::XzDecoder::new_stream(
                buffered(source),
                stream,
            ))
        }
    })
}

/// A compressor; [`Encoder::finish`] must be called, or the stream has no end.
pub struct Encoder<W: Write> {
    inner: Inner<W>,
}

enum Inner<W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Starts a stream. bzip2 and xz are only read: `Unsupported`.
    pub fn new(compression: Compression, sink: W) -> io::Result<Self> {
        let inner = match compression {
            Compression::None => Inner::None(sink),
            Compression::Gzip => Inner::Gzip(
                GzBuilder::new()
                    .mtime(0)
                    .operating_system(GZIP_SYSTEM_UNKNOWN)
                    .write(sink, flate2::Compression::new(GZIP_LEVEL)),
            ),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?;
                // A layer that was damaged on disk is then told apart from a damaged archive.
                encoder.include_checksum(true)?;
                Inner::Zstd(encoder)
            }
            Compression::Bzip2 | Compression::Xz => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "bzip2 and xz are only read, not written",
                ));
            }
        };
        Ok(Self { inner })
    }

    /// Writes the end of the stream and gives the sink back.
    pub fn finish(self) -> io::Result<W> {
        match self.inner {
            Inner::None(sink) => Ok(sink),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::None(sink) => sink.write(bytes),
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Inner::None(sink) => sink.flush(),
            Inner::Gzip(encoder) => encoder.flush(),
            Inner::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(compression: Compression, text: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Bzip2 => {
                let mut encoder =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            other => {
                let mut encoder = Encoder::new(other, Vec::new()).unwrap();
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Xz,
    ];

    #[test]
    fn each_format_is_told_apart_and_several_members_are_one_stream() {
        let text = b"a layer ".repeat(10_000);
        for compression in ALL {
            let mut bytes = compress(compression, &text);
            bytes.extend(compress(compression, b"second member"));
            let (found, mut decoder) = decode(bytes.as_slice()).unwrap();
            assert_eq!(found, compression);
            let mut back = Vec::new();
            decoder.read_to_end(&mut back).unwrap();
            assert_eq!(
                back,
                [text.as_slice(), b"second member"].concat(),
                "{compression:?}"
            );
        }
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        let text: Vec<u8> = (0..20_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for compression in ALL {
            if compression == Compression::None {
                continue;
            }
            let bytes = compress(compression, &text);
            for keep in [bytes.len() / 2, bytes.len() - 2] {
                let (_, mut decoder) = decode(&bytes[..keep]).unwrap();
                let answer = io::copy(&mut decoder, &mut io::sink());
                assert!(
                    answer.is_err(),
                    "{compression:?} cut at {keep} of {}",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn short_and_foreign_starts_are_no_compression() {
        for start in [
            &b""[..],
            b"\x1f",
            b"BZh",
            b"BZhx",
            b"\xfd7zXZ",
            b"x\x2a\x4d\x18",
            b"hello",
        ] {
            assert_eq!(Compression::detect(start), Compression::None, "{start:?}");
        }
        let (found, mut decoder) = decode(&b"x"[..]).unwrap();
        let mut text = String::new();
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!((found, text.as_str()), (Compression::None, "x"));
    }

    #[test]
    fn what_we_compress_is_the_same_every_time() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert_eq!(
                compress(compression, b"same"),
                compress(compression, b"same")
            );
        }
        // No time, no file name, no operating system.
        assert_eq!(
            &compress(Compression::Gzip, b"")[..10],
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        );
        assert!(Encoder::new(Compression::Xz, Vec::new()).is_err());
    }
}
