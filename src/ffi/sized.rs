//! Structs that carry their caller's size: how a shorter or longer one is read and written.

use crate::status::{Error, PIPELINE_ERR_NULL, PIPELINE_ERR_VERSION, Result};
use std::mem::{MaybeUninit, size_of};

/// The largest `struct_size` that anyone may claim.
const MAX_SIZE: usize = 4096;

/// A plain C struct that starts with `struct_size: u32`.
///
/// # Safety
/// `repr(C)`, valid for any bit pattern, and its first field is the `u32` size. `FIRST` is its size in the first
/// release, at least 4.
pub(super) unsafe trait Sized32: Copy {
    /// The struct's name in C, for messages.
    const NAME: &'static str;
    /// Its size in the first release.
    const FIRST: usize = size_of::<Self>();
}

/// Whether `size` is one that a caller of [`write`] may give.
pub(super) fn check<T: Sized32>(size: usize) -> Result<()> {
    if size < T::FIRST || size > MAX_SIZE {
        return Err(Error::new(
            PIPELINE_ERR_VERSION,
            format!("{}.struct_size: {} to {MAX_SIZE} allowed, {size} given", T::NAME, T::FIRST),
        ));
    }
    Ok(())
}

/// Reads what a caller filled in, over `defaults`: a shorter struct leaves the rest as it is, a longer one must be zero
/// past what we know. Returns the number of bytes that count.
///
/// # Safety
/// `from` is NULL or points to as many readable bytes as the `struct_size` at its start says (at least four).
pub(super) unsafe fn read<T: Sized32>(from: *const T, defaults: T, what: &str) -> Result<(T, usize)> {
    if from.is_null() {
        return Err(Error::new(PIPELINE_ERR_NULL, format!("{what} is NULL")));
    }
    // SAFETY: the caller vouches for the first four bytes; no alignment is assumed.
    let size = unsafe { from.cast::<u32>().read_unaligned() } as usize;
    check::<T>(size)?;
    let known = size.min(size_of::<T>());
    let mut value = defaults;
    // SAFETY: `size` bytes are readable, `known` of them fit into `value`, any bytes make a valid T.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
        for at in known..size {
            if from.cast::<u8>().add(at).read() != 0 {
                return Err(Error::new(
                    PIPELINE_ERR_VERSION,
                    format!(
                        "{}: byte {at} of {size} is not zero, and this library knows {known} bytes",
                        T::NAME
                    ),
                ));
            }
        }
    }
    Ok((value, known))
}

/// Writes `value` to a caller's struct of `size` bytes: the common prefix, zeros beyond; `struct_size` is the caller's.
///
/// # Safety
/// `to` is NULL or points to `size` writable bytes.
pub(super) unsafe fn write<T: Sized32>(to: *mut T, size: usize, value: &T, what: &str) -> Result<()> {
    if to.is_null() {
        return Err(Error::new(PIPELINE_ERR_NULL, format!("{what} is NULL")));
    }
    check::<T>(size)?;
    let known = size.min(size_of::<T>());
    let mut copy = MaybeUninit::<T>::new(*value);
    // SAFETY: `size` bytes are writable; `known` of them come from an initialised T, whose size we set first.
    unsafe {
        copy.as_mut_ptr().cast::<u32>().write(size as u32);
        std::ptr::copy_nonoverlapping(copy.as_ptr().cast::<u8>(), to.cast::<u8>(), known);
        std::ptr::write_bytes(to.cast::<u8>().add(known), 0, size - known);
    }
    Ok(())
}

/// Writes to a struct that already carries its `struct_size`.
///
/// # Safety
/// As for [`write`], with the size read from the struct.
pub(super) unsafe fn write_sized<T: Sized32>(to: *mut T, value: &T, what: &str) -> Result<()> {
    if to.is_null() {
        return Err(Error::new(PIPELINE_ERR_NULL, format!("{what} is NULL")));
    }
    // SAFETY: at least four bytes are readable, by contract.
    let size = unsafe { to.cast::<u32>().read_unaligned() } as usize;
    // SAFETY: passed on.
    unsafe { write(to, size, value, what) }
}
