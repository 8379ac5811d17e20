//! The body of a block whose fields lie in columns, and the codecs. `docs/format.md` specifies it under "Columns".
//!
//! Records of one kind repeat each other: a sequence rises by one, a time by little, addresses share their high bytes. The [`Encoder`] puts each
//! field of all records of a block together as a [`column`], stores it as differences split into byte planes, and leaves out the planes that are
//! zero. A codec then finds little to do, so it is fast. The [`Decoder`] restores the records, except that their padding is zero.
//!
//! Both are fast because they go over the numbers of one column in simple loops, which the compiler turns into vector instructions. They keep their memory from block to block. They return an error where memory runs out, and the decoder for any body that is not right.

mod codec;
mod column;
mod decode;
mod decode_error;
mod encode;
mod shapes;
#[cfg(test)]
mod tests;

pub use codec::{ZSTD_LEVEL, is_supported};
pub use decode::Decoder;
pub use decode_error::DecodeError;
pub use encode::{Body, EncodeError, Encoder};

/// There is not enough memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoMemory;

/// Columns are at most so many bytes longer than their records, before they are compressed.
const SURPLUS: usize = 256;

/// Scratch that is larger than this after a block is given back.
const KEPT: usize = 8 << 20;

/// Makes the buffer `count` long; the values are whatever they were, or the default.
fn room<T: Copy + Default>(buffer: &mut Vec<T>, count: usize) -> Result<&mut [T], NoMemory> {
    if buffer.len() < count {
        buffer.try_reserve_exact(count - buffer.len()).map_err(|_| NoMemory)?;
        buffer.resize(count, T::default());
    }
    Ok(&mut buffer[..count])
}

/// Adds room for `count` more values.
fn reserve<T>(buffer: &mut Vec<T>, count: usize) -> Result<(), NoMemory> {
    buffer.try_reserve(count).map_err(|_| NoMemory)
}

/// Gives the memory of a buffer back if it is unusually large.
fn trim<T>(buffer: &mut Vec<T>) {
    if buffer.capacity().saturating_mul(size_of::<T>()) > KEPT {
        *buffer = Vec::new();
    }
}
