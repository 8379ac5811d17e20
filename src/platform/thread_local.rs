//! The thread-local words in which a thread's captures look up its producer. They are zero at first and have no destructors, so they can be
//! used until the very end of the thread.

use std::cell::Cell;
use std::ffi::c_void;

/// The number of entries of each thread.
pub const ENTRIES: usize = 4;

/// A key and its value. All zero at first.
#[derive(Debug)]
#[repr(C)]
pub struct Entry {
    /// The key.
    pub key: Cell<u64>,
    /// Its value.
    pub value: Cell<*mut c_void>,
}

pub use address::with;

/// Finds the address by a TLS descriptor. The Rust compiler has no option for that on x86-64; on aarch64 it uses descriptors by itself.
///
/// A shared library finds thread-local words by a call of `__tls_get_addr`, about twenty instructions before which the caller gives up
/// its registers. With a descriptor `pipeline_capture` takes 106.2 instructions instead of 130.3 (`tests/instructions.sh`, with `thread_local!`
/// in its place):
/// - In a program that links the static library, the linker replaces the descriptor by an offset.
/// - If the library is loaded at the program's start, the loader turns it into a call of two instructions. It does not take static TLS space
///   that libraries with initial-exec words need, except from glibc 2.31.
/// - If the library is loaded later, the call looks into the thread's table. At the thread's first use it allocates the words, with `malloc` in
///   glibc as `__tls_get_addr` does, and without it in musl. A capture in a signal handler is therefore safe after a thread's first
///   capture, as it would be without descriptors.
///
/// By its definition the call preserves all registers but that of its result. Before 2.40, glibc did not preserve vector registers
/// that its `malloc` used, so they are declared as changed, which costs nothing at the beginning of a capture. It also did not align the
/// stack, so the compiler has to do that.
#[cfg(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    target_os = "linux",
    any(target_env = "gnu", target_env = "musl"),
    not(any(loom, simulator))
))]
mod address {
    use super::{ENTRIES, Entry};

    /// Passes the calling thread's entries to `look`.
    #[inline(always)]
    pub fn with<R>(look: impl FnOnce(&[Entry; ENTRIES]) -> R) -> R {
        let at: *const [Entry; ENTRIES];
        // SAFETY: the three instructions are those that linkers know, and yield the address of the calling thread's words below. They change
        // the flags, the register of the result and vector registers (see above). The stack is aligned because `nostack` is not given; LLVM
        // 22 moves the alignment behind these instructions unless the function needs a frame, which it does to save r12.
        unsafe {
            std::arch::asm!(
                "leaq capture_pipeline_entries@tlsdesc(%rip), %rax",
                "call *capture_pipeline_entries@tlscall(%rax)",
                "addq %fs:0, %rax",
                out("rax") at, out("r12") _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(att_syntax),
            );
        }
        // SAFETY: only this thread has the address, the closure cannot keep it, and zero, the initial value, is valid for all fields.
        look(unsafe { &*at })
    }

    std::arch::global_asm!(
        ".pushsection .tbss.capture_pipeline_entries, \"awT\", @nobits",
        ".balign 8",
        ".globl capture_pipeline_entries",
        ".hidden capture_pipeline_entries",
        ".type capture_pipeline_entries, @object",
        ".size capture_pipeline_entries, {size}",
        "capture_pipeline_entries:",
        ".zero {size}",
        ".popsection",
        size = const size_of::<[Entry; ENTRIES]>(),
        options(att_syntax),
    );
}

#[cfg(not(all(
    target_arch = "x86_64",
    target_pointer_width = "64",
    target_os = "linux",
    any(target_env = "gnu", target_env = "musl"),
    not(any(loom, simulator))
)))]
mod address {
    use super::{ENTRIES, Entry};
    use std::cell::Cell;

    /// Passes the calling thread's entries to `look`.
    #[inline(always)]
    pub fn with<R>(look: impl FnOnce(&[Entry; ENTRIES]) -> R) -> R {
        thread_local! {
            static OWN: [Entry; ENTRIES] =
                const { [const { Entry { key: Cell::new(0), value: Cell::new(std::ptr::null_mut()) } }; ENTRIES] };
        }
        OWN.with(look)
    }
}
