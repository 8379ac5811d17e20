//! A few places of each thread's own, for what its captures look up: zero at its beginning, without destructors, there until its
//! very end.
//!
//! They are thread-local words as any, and only how they are found may be special.

use std::cell::Cell;
use std::ffi::c_void;

/// How many a thread has.
pub const PLACES: usize = 4;

/// A number, and what it stands for. All zero at first.
#[derive(Debug)]
#[repr(C)]
pub struct Place {
    /// Its number.
    pub number: Cell<u64>,
    /// What it stands for.
    pub what: Cell<*mut c_void>,
}

// As the compiler finds any, but where it has no switch for a better way.
#[cfg_attr(
    all(
        target_arch = "x86_64",
        target_pointer_width = "64",
        target_os = "linux",
        any(target_env = "gnu", target_env = "musl"),
        not(any(loom, simulator))
    ),
    path = "places/descriptor.rs"
)]
mod found;

pub use found::with;
