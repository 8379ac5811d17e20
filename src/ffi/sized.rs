//! Reading and writing structs that begin with their caller's `struct_size`, which may be shorter or longer than the library's.

use super::guard::require;
use crate::status::{Error, PIPELINE_ERR_NULL, PIPELINE_ERR_VERSION, Result};
use std::fmt;
use std::mem::{MaybeUninit, size_of};

/// The largest `struct_size` that is accepted.
pub(super) const MAX_SIZE: usize = 4096;

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

/// What is wrong with a caller's struct. It has no text of its own, because a capture in a signal handler may meet it, where nothing may be allocated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong<'a> {
    /// The pointer of this name.
    Null(&'a str),
    /// The `struct_size` of this struct, the least that is allowed, what was given.
    Size(&'static str, usize, usize),
    /// A byte of this struct that the library does not know: its place, the `struct_size`, the bytes that are known.
    NotZero(&'static str, usize, usize, usize),
}

impl Wrong<'_> {
    pub(super) fn status(&self) -> i32 {
        if matches!(self, Self::Null(_)) { PIPELINE_ERR_NULL } else { PIPELINE_ERR_VERSION }
    }
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Null(what) => write!(f, "{what} is NULL"),
            Self::Size(name, first, given) => {
                write!(f, "{name}.struct_size: {first} to {MAX_SIZE} allowed, {given} given")
            }
            Self::NotZero(name, at, size, known) => {
                write!(f, "{name}: byte {at} of {size} is not zero, and this library knows {known} bytes")
            }
        }
    }
}

impl From<Wrong<'_>> for Error {
    fn from(wrong: Wrong<'_>) -> Self {
        Self::new(wrong.status(), wrong.to_string())
    }
}

/// Checks that a caller may give `size` to [`write`].
pub(super) fn check<T: Sized32>(size: usize) -> Result<(), Wrong<'static>> {
    if size < T::FIRST || size > MAX_SIZE {
        return Err(Wrong::Size(T::NAME, T::FIRST, size));
    }
    Ok(())
}

/// Reads a caller's struct over `defaults`. A shorter struct leaves the rest of them; a longer one must be zero behind the bytes that
/// this library knows. Returns the number of bytes read as well.
///
/// # Safety
/// `from` is NULL or points to as many readable bytes as the `struct_size` at its start says (at least four).
pub(super) unsafe fn read<T: Sized32>(
    from: *const T,
    defaults: T,
    what: &str,
) -> Result<(T, usize), Wrong<'_>> {
    if from.is_null() {
        return Err(Wrong::Null(what));
    }
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
                return Err(Wrong::NotZero(T::NAME, at, size, known));
            }
        }
    }
    Ok((value, known))
}

/// Writes `value` to a caller's struct of `size` bytes: the common prefix, and zeros behind it. `struct_size` becomes `size`.
///
/// # Safety
/// `to` is NULL or points to `size` writable bytes.
pub(super) unsafe fn write<T: Sized32>(to: *mut T, size: usize, value: &T, what: &str) -> Result<()> {
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
pub(super) unsafe fn write_sized<T: Sized32>(to: *mut T, value: &T, what: &str) -> Result<()> {
    require(to, what)?;
    // SAFETY: at least four bytes are readable, by contract.
    let size = unsafe { to.cast::<u32>().read_unaligned() } as usize;
    // SAFETY: passed on.
    unsafe { write(to, size, value, what) }
}
