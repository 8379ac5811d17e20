//! Signals that a system call of the library sends to the calling thread: SIGXFSZ for a file that has reached its size limit, SIGPIPE for
//! a pipe without a reader. Their default action ends the process. The library does not need them, because the call also returns an error.

use super::errno::KeptErrno;

/// Blocks the two signals for the calling thread until it is dropped. A signal that was raised meanwhile is then consumed before
/// the mask is restored. A signal that was pending before stays pending.
#[derive(Debug)]
#[must_use]
pub struct FileSignalsHeld {
    mask: libc::sigset_t,
    /// Those of the two that were not pending at the beginning.
    ours: libc::sigset_t,
}

impl FileSignalsHeld {
    /// Blocks the signals.
    pub fn begin() -> Self {
        // SAFETY: the sets are locals, and each is filled before it is read.
        unsafe {
            let mut empty: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut empty);
            let (mut both, mut ours, mut before, mut mask) = (empty, empty, empty, empty);
            for signal in [libc::SIGXFSZ, libc::SIGPIPE] {
                libc::sigaddset(&raw mut both, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const both, &raw mut mask);
            libc::sigpending(&raw mut before);
            for signal in [libc::SIGXFSZ, libc::SIGPIPE] {
                if libc::sigismember(&raw const before, signal) == 0 {
                    libc::sigaddset(&raw mut ours, signal);
                }
            }
            Self { mask, ours }
        }
    }
}

impl Drop for FileSignalsHeld {
    fn drop(&mut self) {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let _errno = KeptErrno::begin();
        // The system call is made directly, because the C library's sigtimedwait is a cancellation point.
        // SAFETY: reads this guard's sets and locals.
        unsafe {
            const SET_BYTES: usize = 8;
            let none = std::ptr::null_mut::<libc::siginfo_t>();
            while libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const self.ours,
                none,
                &raw const at_once,
                SET_BYTES,
            ) > 0
            {}
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(signal: libc::c_int) -> bool {
        // SAFETY: a local set.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigpending(&raw mut set);
            libc::sigismember(&raw const set, signal) == 1
        }
    }

    fn send(signal: libc::c_int) {
        // SAFETY: to this thread, in which the signal is blocked.
        unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
    }

    #[test]
    fn a_signal_raised_meanwhile_is_consumed_and_an_earlier_one_stays() {
        // On a thread of its own, because its mask changes.
        std::thread::spawn(|| {
            let held = FileSignalsHeld::begin();
            send(libc::SIGXFSZ);
            assert!(pending(libc::SIGXFSZ));
            // If it were still pending, it would end the process here.
            drop(held);
            assert!(!pending(libc::SIGXFSZ));

            let outer = FileSignalsHeld::begin();
            send(libc::SIGXFSZ);
            drop(FileSignalsHeld::begin());
            assert!(pending(libc::SIGXFSZ));
            drop(outer);
            assert!(!pending(libc::SIGXFSZ));
        })
        .join()
        .unwrap();
    }
}
