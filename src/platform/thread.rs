//! Threads: plain ones for the library's own work, and knowledge of the caller's.
//!
//! The library's threads block asynchronous signals only: the host's handlers must still see SEGV and its like.
//! What a thread keeps of its own are words without destructors, so that they can be used until the very end; a
//! `pthread_key` destructor tells when that end begins.

use super::global::Replaceable;
use super::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    static ENDED: Cell<bool> = const { Cell::new(false) };
    static WORKS_FOR: Cell<u64> = const { Cell::new(0) };
    /// The hooks that were in force when this thread of the library began.
    static HOOKED: Cell<Option<&'static Hooks>> = const { Cell::new(None) };
}

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// A number for the calling thread that no other thread ever has.
pub fn token() -> u64 {
    let mut token = TOKEN.get();
    if token == 0 {
        token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
        TOKEN.set(token);
    }
    token
}

/// The calling thread's id as the operating system has it.
pub fn os_id() -> u32 {
    // SAFETY: a system call without arguments.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

/// Whether the thread-end destructor of the calling thread has run.
pub fn ended() -> bool {
    ENDED.get()
}

/// The pipeline that the calling thread works for, as one of its writers; 0: none.
#[inline]
pub fn works_for() -> u64 {
    WORKS_FOR.get()
}

/// Marks the calling thread as one of the library's, working for a pipeline.
pub fn set_works_for(pipeline_id: u64) {
    WORKS_FOR.set(pipeline_id);
}

/// The name of the calling thread, as far as it fits into 16 bytes.
pub fn name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// The key whose destructor tells of a thread's end, plus one; 0: not made.
static KEY: AtomicU64 = AtomicU64::new(0);
static AT_END: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the thread-end key, once. `at_end` gets the token of each armed thread that ends, on that thread.
pub fn on_end(at_end: fn(u64)) -> Result<()> {
    AT_END.store(at_end as *mut c_void, Ordering::Release);
    if KEY.load(Ordering::Acquire) != 0 {
        return Ok(());
    }
    let mut key = 0;
    // SAFETY: the destructor is a function of this library, which is never unmapped.
    let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) };
    if failed != 0 {
        return Err(Error::new(
            crate::status::PIPELINE_ERR_SYSTEM,
            format!("pthread_key_create: {}", std::io::Error::from_raw_os_error(failed)),
        ));
    }
    if KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: made above, never used.
        unsafe { libc::pthread_key_delete(key) };
    }
    Ok(())
}

/// From now on the calling thread's end is told. `false`: there was no memory for that.
pub fn arm_end() -> bool {
    let key = KEY.load(Ordering::Acquire);
    // SAFETY: the key exists; its value is a number, never dereferenced.
    key != 0 && unsafe { libc::pthread_setspecific((key - 1) as u32, token() as *const c_void) } == 0
}

extern "C" fn thread_ends(value: *mut c_void) {
    ENDED.set(true);
    let at_end = AT_END.load(Ordering::Acquire);
    if !at_end.is_null() {
        // SAFETY: only `on_end` writes AT_END, always a `fn(u64)`.
        let at_end: fn(u64) = unsafe { std::mem::transmute(at_end) };
        let _ = catch_unwind(AssertUnwindSafe(|| at_end(value as u64)));
    }
}

/// What a program wants its threads told.
type Hook = unsafe extern "C" fn(*mut c_void);

#[derive(Clone, Copy)]
struct Hooks {
    start: Option<Hook>,
    stop: Option<Hook>,
    user_data: *mut c_void,
}

static HOOKS: Replaceable<Hooks> = Replaceable::new();

/// Sets what each thread of the library calls as it begins and ends.
pub fn set_hooks(start: Option<Hook>, stop: Option<Hook>, user_data: *mut c_void) {
    HOOKS.set(Some(Hooks { start, stop, user_data }));
}

/// Calls the start hook, and notes whose stop hook belongs to it. The two are apart, and plain, because a writer's frame must
/// hold nothing to unwind.
pub fn run_start_hook() {
    let hooks = HOOKS.get();
    HOOKED.set(hooks);
    if let Some(Hooks { start: Some(start), user_data, .. }) = hooks {
        // SAFETY: the program vouches for the pair of function and data.
        unsafe { start(*user_data) };
    }
}

/// Calls the stop hook that was set together with the start hook that this thread called.
pub fn run_stop_hook() {
    if let Some(Hooks { stop: Some(stop), user_data, .. }) = HOOKED.take() {
        // SAFETY: as in `run_start_hook`.
        unsafe { stop(*user_data) };
    }
}

/// A thread that can be waited for.
#[derive(Debug)]
pub struct Handle {
    thread: libc::pthread_t,
    /// Its place in the simulator.
    #[cfg(simulator)]
    place: Option<usize>,
}

// SAFETY: a pthread_t names a thread; any thread may join it.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Waits for the thread's end.
    pub fn join(self) {
        #[cfg(simulator)]
        if let Some(place) = self.place {
            super::simulator::join(place);
        }
        // SAFETY: the thread is joinable, and the handle is consumed.
        unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) };
    }

    /// Lets the thread end by itself.
    pub fn detach(self) {
        // SAFETY: the thread is joinable, and the handle is consumed.
        unsafe { libc::pthread_detach(self.thread) };
    }
}

/// Starts a thread of the library that can be joined; a panic ends it and no more.
pub fn spawn(name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Handle> {
    struct Start {
        name: CString,
        body: Box<dyn FnOnce() + Send>,
    }
    extern "C-unwind" fn main(start: *mut c_void) -> *mut c_void {
        // SAFETY: made below from a Box, handed to this thread alone.
        let start = unsafe { Box::from_raw(start.cast::<Start>()) };
        set_name(&start.name);
        run_start_hook();
        let _ = catch_unwind(AssertUnwindSafe(start.body));
        run_stop_hook();
        std::ptr::null_mut()
    }
    let start = Box::into_raw(Box::new(Start { name: short_name(name), body }));
    match create(main, start.cast(), false) {
        Ok(handle) => Ok(handle),
        Err(error) => {
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start) });
            Err(error)
        }
    }
}

/// The start routine of a plain thread.
pub type Main = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// Starts a detached plain thread: nothing of ours stands between its start and `main`, so that a callback which ends
/// the thread unwinds through frames that hold nothing.
pub fn spawn_plain(main: Main, argument: *mut c_void) -> Result<()> {
    create(main, argument, true).map(|_| ())
}

/// Starts a plain thread and waits for its end.
pub fn run_plain(main: Main, argument: *mut c_void) -> Result<()> {
    create(main, argument, false).map(Handle::join)
}

fn create(main: Main, argument: *mut c_void, detached: bool) -> Result<Handle> {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        if super::simulator::refuse_thread() {
            let text = "pthread_create: Resource temporarily unavailable (simulated)";
            return Err(Error::new(crate::status::PIPELINE_ERR_SYSTEM, text));
        }
        let (main, argument, place) = super::simulator::born(main, argument);
        let handle = create_thread(main, argument, detached)?;
        return Ok(Handle { place: Some(place), ..handle });
    }
    create_thread(main, argument, detached)
}

fn create_thread(main: Main, argument: *mut c_void, detached: bool) -> Result<Handle> {
    // SAFETY: all structures are locals, initialised before use. A "C-unwind" start routine is called as a "C" one is;
    // it only may be unwound through besides.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_attr_init(&raw mut attributes) != 0 {
            return Err(Error::new(PIPELINE_ERR_NO_MEMORY, "pthread_attr_init: no memory"));
        }
        if detached {
            libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
        }
        // The new thread inherits the mask: blocked before it exists, restored here right after.
        let mut blocked = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&raw mut blocked);
        for signal in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGSYS,
            libc::SIGABRT,
        ] {
            libc::sigdelset(&raw mut blocked, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, &raw mut before);
        let main: extern "C" fn(*mut c_void) -> *mut c_void = std::mem::transmute(main);
        let mut thread = std::mem::zeroed();
        let failed = libc::pthread_create(&raw mut thread, &raw const attributes, main, argument);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        libc::pthread_attr_destroy(&raw mut attributes);
        if failed != 0 {
            return Err(Error::new(
                crate::status::PIPELINE_ERR_SYSTEM,
                format!("pthread_create: {}", std::io::Error::from_raw_os_error(failed)),
            ));
        }
        Ok(Handle {
            thread,
            #[cfg(simulator)]
            place: None,
        })
    }
}

/// A name as a thread can bear it: 15 bytes, no NUL.
pub fn short_name(name: &str) -> CString {
    let bytes: Vec<u8> = name.bytes().filter(|&b| b != 0).take(15).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Names the calling thread.
pub fn set_name(name: &CString) {
    // SAFETY: a NUL-terminated string of at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Gives up the processor for a moment, between tries of something that another thread is about to finish.
pub fn pause(tries: &AtomicU32) {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::step_aside();
    }
    if tries.fetch_add(1, Ordering::Relaxed) < 64 {
        std::hint::spin_loop();
    } else {
        give_way();
    }
}

/// Lets other threads run that wait for this processor.
pub fn give_way() {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        return super::simulator::step_aside();
    }
    // SAFETY: no arguments; it does not fail.
    unsafe { libc::sched_yield() };
}
