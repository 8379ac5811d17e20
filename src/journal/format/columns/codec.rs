//! The codecs: LZ4 blocks, and Zstandard frames where the feature `zstd` is on.

use super::decode_error::DecodeError;
use super::{NoMemory, room};
use crate::journal::format::block::codec;
use crate::platform::memory;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

/// The level of compression of Zstandard.
pub const ZSTD_LEVEL: i32 = 1;

/// Whether this build reads and writes the codec.
pub fn is_supported(number: u8) -> bool {
    matches!(number, codec::NONE | codec::LZ4) || number == codec::ZSTD && cfg!(feature = "zstd")
}

/// The state of the compressors, made at their first use.
#[derive(Default)]
pub(super) struct Compressor {
    /// One table of 16 KiB, in a slice because the standard library has no stable way to make a box that may fail.
    lz4: Box<[CompressTable]>,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd_safe::CCtx<'static>>,
}

impl Compressor {
    /// Compresses `bytes` into `into` and answers the length. `None`: this build does not have the codec, or it fails.
    pub fn compress(
        &mut self,
        number: u8,
        bytes: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<Option<usize>, NoMemory> {
        match number {
            codec::LZ4 => {
                if self.lz4.is_empty() {
                    self.lz4 = memory::boxed(1, CompressTable::large).map_err(|_| NoMemory)?;
                }
                let table = &mut self.lz4[0];
                let into = room(into, get_maximum_output_size(bytes.len()))?;
                Ok(compress_into_with_table(bytes, into, table).ok())
            }
            #[cfg(feature = "zstd")]
            codec::ZSTD => {
                let context = match &mut self.zstd {
                    Some(context) => context,
                    none => none.insert(zstd_safe::CCtx::try_create().ok_or(NoMemory)?),
                };
                let into = room(into, zstd_safe::compress_bound(bytes.len()))?;
                context.compress(into, bytes, ZSTD_LEVEL).map(Some).map_err(|_| NoMemory)
            }
            _ => Ok(None),
        }
    }
}

/// The state of the decompressors, made at their first use.
#[derive(Default)]
pub(super) struct Decompressor {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl Decompressor {
    /// Decompresses `bytes` into `into`, and answers the length.
    pub fn decompress(&mut self, number: u8, bytes: &[u8], into: &mut [u8]) -> Result<usize, DecodeError> {
        match number {
            codec::LZ4 => decompress_into(bytes, into)
                .map_err(|_| DecodeError::Damaged("the bytes are no block of LZ4")),
            #[cfg(feature = "zstd")]
            codec::ZSTD => {
                let context = match &mut self.zstd {
                    Some(context) => context,
                    none => none.insert(zstd_safe::DCtx::try_create().ok_or(DecodeError::NoMemory)?),
                };
                context
                    .decompress(into, bytes)
                    .map_err(|_| DecodeError::Damaged("the bytes are no frame of Zstandard"))
            }
            _ => Err(DecodeError::Codec(number)),
        }
    }
}
