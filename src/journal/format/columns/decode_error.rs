//! Why a body cannot be decoded.

use super::NoMemory;
use super::column::Unread;
use crate::journal::format::block::codec;
use std::fmt;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The body is not one that the header announces.
    Damaged(&'static str),
    /// This library does not know the filter.
    Filter(u8),
    /// This library does not know the codec, or was built without it.
    Codec(u8),
    /// There is not enough memory.
    NoMemory,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) => f.write_str(why),
            Self::Filter(number) => write!(f, "filter {number} is unknown to this version"),
            Self::Codec(codec::ZSTD) => {
                f.write_str("codec 2 (Zstandard) is not in this build; enable the feature zstd")
            }
            Self::Codec(number) => write!(f, "codec {number} is unknown to this version"),
            Self::NoMemory => f.write_str("not enough memory for the block"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<NoMemory> for DecodeError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<Unread> for DecodeError {
    fn from(why: Unread) -> Self {
        match why {
            Unread::Damaged(why) => Self::Damaged(why),
            Unread::NoMemory => Self::NoMemory,
        }
    }
}
