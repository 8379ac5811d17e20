//! A thread's places found by a TLS descriptor. A shared library's thread-local words are found by a call of
//! `__tls_get_addr`, some twenty instructions, around which the caller gives up its registers. Here, where the compiler has no switch
//! for it (x86-64), the call is that of a TLS descriptor, as on aarch64, where that is what the compiler does by itself:
//!
//! * The linker makes it an offset where the words are a program's own, by the static library.
//! * Where the library is there from the program's start, the loader makes it a call of two instructions. Of the room
//!   that it keeps for libraries opened later it gives this one none that others may have to have: that is for
//!   initial-exec words alone. (glibc 2.31 knew no such difference.)
//! * Where the library was opened later, the call looks into the thread's table, and gets the thread its block if that is
//!   its first look: from `malloc` in glibc, as `__tls_get_addr` does, and not in musl. So for signal handlers
//!   nothing changes: safe after a thread's first.
//!
//! The call is to preserve all registers but the one of its answer. glibc before 2.40 did not preserve those of vectors where that
//! `malloc` used them; they are given up here, as nothing lies in them at the beginning of a capture. Nor did it align the
//! stack, which is therefore the compiler's to do.

use super::{PLACES, Place};

/// The calling thread's places.
#[inline(always)]
pub fn with<R>(look: impl FnOnce(&[Place; PLACES]) -> R) -> R {
    let at: *const [Place; PLACES];
    // SAFETY: the three instructions are the ones that linkers know, and their answer the address of the words below, in the
    // calling thread. What they change: the register of the answer and the flags, and vector registers (see above). The
    // stack is aligned, as `nostack` is not said; but LLVM (22) moves what aligns it behind these instructions where
    // only later ones need a frame. To give up a register that is the caller's is to need one here.
    unsafe {
        std::arch::asm!(
            "leaq capture_pipeline_places@tlsdesc(%rip), %rax",
            "call *capture_pipeline_places@tlscall(%rax)",
            "addq %fs:0, %rax",
            out("rax") at, out("r12") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(att_syntax),
        );
    }
    // SAFETY: the thread's own, zero at first, which is a value of all their fields; nobody else has the address, and the closure
    // cannot keep it.
    look(unsafe { &*at })
}

std::arch::global_asm!(
    ".pushsection .tbss.capture_pipeline_places, \"awT\", @nobits",
    ".balign 8",
    ".globl capture_pipeline_places",
    ".hidden capture_pipeline_places",
    ".type capture_pipeline_places, @object",
    ".size capture_pipeline_places, {size}",
    "capture_pipeline_places:",
    ".zero {size}",
    ".popsection",
    size = const size_of::<[Place; PLACES]>(),
    options(att_syntax),
);
