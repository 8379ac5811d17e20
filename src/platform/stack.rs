//! The sizes of the stacks of the library's threads, and the error of a thread that could not be started.

use super::memory;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_SYSTEM};
use std::sync::atomic::AtomicUsize;

/// The stack of a thread that runs no code of the host except hooks and the log callback.
const OWN_STACK: usize = 512 << 10;
/// The limits of a writer's stack, on which the host's callbacks run. Within them it has the default size of the host's threads, which is
/// usually 8 MiB, or 128 KiB in musl. (`ulimit -s` and `pthread_setattr_default_np` change it.)
const LEAST_WRITER_STACK: usize = 1 << 20;
const MOST_WRITER_STACK: usize = 8 << 20;

/// The work of a thread, which decides on the size of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// The library's own work.
    Own,
    /// Callbacks of the host, too.
    Writer,
}

impl Stack {
    /// The size in bytes, given the host's default.
    pub(super) fn bytes(self, host: usize) -> usize {
        let base = match self {
            Self::Own => OWN_STACK,
            Self::Writer => host.clamp(LEAST_WRITER_STACK, MOST_WRITER_STACK),
        };
        (base + tls_bytes()).next_multiple_of(STACK_UNIT)
    }
}

/// Bytes of a thread's stack that the C library uses for thread-local storage. glibc has a function for that, which it keeps for
/// runtimes such as Java's. musl adds them to the size by itself.
fn tls_bytes() -> usize {
    /// The number, plus one; 0: not known yet. Two threads may find it out at once, which changes nothing.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    let known = KNOWN.load(std::sync::atomic::Ordering::Relaxed);
    if known != 0 {
        return known - 1;
    }
    let bytes = find_tls_bytes();
    KNOWN.store(bytes + 1, std::sync::atomic::Ordering::Relaxed);
    bytes
}

fn find_tls_bytes() -> usize {
    type MinStack = unsafe extern "C" fn(*const libc::pthread_attr_t) -> usize;
    // SAFETY: where the symbol exists, it is a function of this type that reads the attributes only.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr());
        if found.is_null() {
            return 0;
        }
        let min_stack: MinStack = std::mem::transmute(found);
        let mut attributes = std::mem::zeroed();
        if libc::pthread_attr_init(&raw mut attributes) != 0 {
            return 0;
        }
        let least = min_stack(&raw const attributes);
        libc::pthread_attr_destroy(&raw mut attributes);
        least.saturating_sub(libc::PTHREAD_STACK_MIN)
    }
}

/// Stacks are multiples of this: the largest page of the supported systems.
const STACK_UNIT: usize = 64 << 10;

/// The error of a thread that could not be started. The C library reports EAGAIN both if a limit on threads is reached and if
/// there is no memory for the stack. Mapping the stack tells which.
pub(super) fn refused(failed: libc::c_int, stack: usize) -> Error {
    let text = format!("pthread_create: {}", std::io::Error::from_raw_os_error(failed));
    let status = if failed == libc::ENOMEM || !can_map(stack) || !memory::system_has_memory() {
        PIPELINE_ERR_NO_MEMORY
    } else {
        PIPELINE_ERR_SYSTEM
    };
    Error::new(status, text)
}

fn can_map(bytes: usize) -> bool {
    let pages = memory::map(bytes);
    // SAFETY: the mapping is new, if there is one, and removed once.
    !pages.is_null() && unsafe { libc::munmap(pages, bytes) } == 0
}
