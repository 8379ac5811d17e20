//! Fallible allocation: where memory runs out, there is an error of the kind `OutOfMemory`, and the process goes on.

use std::io;

/// The error of an allocation that has failed.
pub(super) fn out_of_memory<E>(_: E) -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}

/// Appends to a list.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> io::Result<()> {
    list.try_reserve(1).map_err(out_of_memory)?;
    list.push(item);
    Ok(())
}

/// `len` zeros.
pub(super) fn zeros(len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(out_of_memory)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// A copy of some bytes.
pub(super) fn copy(from: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(from.len()).map_err(out_of_memory)?;
    bytes.extend_from_slice(from);
    Ok(bytes)
}
