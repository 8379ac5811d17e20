//! The captured functions, as `calls.h` numbers them: a call's number is the kind of its event.

/// Beside the calls: a stack, and the first event of a process image.
pub const KIND_STACK: u32 = 100;
pub const KIND_IMAGE: u32 = 101;

/// What a call does to the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allocates,
    /// Releases one address and allocates another.
    Resizes,
    Releases,
}

use Effect::{Allocates, Releases, Resizes};

/// By number, from 1 on: the names as C and C++ have them.
const CALLS: [(&str, Effect); 30] = [
    ("malloc", Allocates),
    ("calloc", Allocates),
    ("realloc", Resizes),
    ("free", Releases),
    ("posix_memalign", Allocates),
    ("aligned_alloc", Allocates),
    ("memalign", Allocates),
    ("valloc", Allocates),
    ("pvalloc", Allocates),
    ("reallocarray", Resizes),
    ("operator new", Allocates),
    ("operator new[]", Allocates),
    ("operator new(nothrow)", Allocates),
    ("operator new[](nothrow)", Allocates),
    ("operator new(align)", Allocates),
    ("operator new[](align)", Allocates),
    ("operator new(align, nothrow)", Allocates),
    ("operator new[](align, nothrow)", Allocates),
    ("operator delete", Releases),
    ("operator delete[]", Releases),
    ("operator delete(size)", Releases),
    ("operator delete[](size)", Releases),
    ("operator delete(nothrow)", Releases),
    ("operator delete[](nothrow)", Releases),
    ("operator delete(align)", Releases),
    ("operator delete[](align)", Releases),
    ("operator delete(size, align)", Releases),
    ("operator delete[](size, align)", Releases),
    ("operator delete(align, nothrow)", Releases),
    ("operator delete[](align, nothrow)", Releases),
];

/// Room for a count of each call, by its number.
pub const COUNTERS: usize = 32;

/// All calls with their numbers.
pub fn all() -> impl Iterator<Item = (u32, &'static str, Effect)> {
    (1..).zip(CALLS).map(|(number, (name, effect))| (number, name, effect))
}

/// What a call does. `None`: the kind is that of no call.
#[inline]
pub fn effect(kind: u32) -> Option<Effect> {
    CALLS.get((kind as usize).wrapping_sub(1)).map(|call| call.1)
}
