//! Reading and writing structs that begin with their caller's `struct_size`, by the rules of libcapture_pipeline (docs/abi.md).

use crate::abi::{PIPELINE_ERR_NULL, PIPELINE_ERR_VERSION};
use crate::thread::Failure;
use std::mem::MaybeUninit;

/// The largest `struct_size` that is accepted.
const MAX_SIZE: usize = 4096;

/// A plain C struct that starts with `struct_size: u32`.
///
/// # Safety
/// `repr(C)`, valid for any bit pattern, and its first field is the `u32` size.
pub(super) unsafe trait Sized32: Copy {
    /// The struct's name in C, for messages.
    const NAME: &'static str;
    /// Its size in the first release.
    const FIRST: usize = size_of::<Self>();
}

fn check<T: Sized32>(size: usize) -> Result<(), Failure> {
    if (T::FIRST..=MAX_SIZE).contains(&size) {
        return Ok(());
    }
    let words = format!("{}.struct_size: {} to {MAX_SIZE} allowed, {size} given", T::NAME, T::FIRST);
    Err((PIPELINE_ERR_VERSION, words))
}

fn require<T>(pointer: *const T, what: &str) -> Result<(), Failure> {
    if pointer.is_null() { Err((PIPELINE_ERR_NULL, format!("{what} is NULL"))) } else { Ok(()) }
}

/// Reads a caller's struct over `defaults`. A shorter struct leaves the rest of them; a longer one must be zero behind the bytes that
/// this library knows.
///
/// # Safety
/// `from` is NULL or points to as many readable bytes as the `struct_size` at its start says (at least four).
pub(super) unsafe fn read<T: Sized32>(from: *const T, defaults: T, what: &str) -> Result<T, Failure> {
    require(from, what)?;
    // SAFETY: the first four bytes are readable, by contract; no alignment is assumed.
    let size = unsafe { from.cast::<u32>().read_unaligned() } as usize;
    check::<T>(size)?;
    let known = size.min(size_of::<T>());
    let mut value = defaults;
    // SAFETY: `size` bytes are readable, `known` of them fit into `value`, any bytes make a valid T.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
        for at in known..size {
            if from.cast::<u8>().add(at).read() != 0 {
                let words = format!(
                    "{}: byte {at} of {size} is not zero, and this library knows {known} bytes",
                    T::NAME
                );
                return Err((PIPELINE_ERR_VERSION, words));
            }
        }
    }
    Ok(value)
}

/// Writes `value` to a caller's struct of `size` bytes: the common prefix, and zeros behind it. `struct_size` becomes `size`.
///
/// # Safety
/// `to` is NULL or points to `size` writable bytes.
pub(super) unsafe fn write<T: Sized32>(
    to: *mut T,
    size: usize,
    value: &T,
    what: &str,
) -> Result<(), Failure> {
    require(to, what)?;
    check::<T>(size)?;
    let known = size.min(size_of::<T>());
    let mut copy = MaybeUninit::<T>::new(*value);
    // SAFETY: `size` bytes are writable; `known` of them come from an initialised T, whose `struct_size` is set first.
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
pub(super) unsafe fn write_sized<T: Sized32>(to: *mut T, value: &T, what: &str) -> Result<(), Failure> {
    require(to, what)?;
    // SAFETY: at least four bytes are readable, by contract.
    let size = unsafe { to.cast::<u32>().read_unaligned() } as usize;
    // SAFETY: passed on.
    unsafe { write(to, size, value, what) }
}
