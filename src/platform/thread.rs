//! The library's own threads, and the state of the calling thread.
//!
//! The library's threads block asynchronous signals only, because the host's handlers must see SIGSEGV and other faults.
//! Thread-local state has no destructors, so that it can be used until the very end of the thread. A `pthread_key` destructor reports
//! when that end begins.

use super::cancellation::Uncancelled;
use super::global::Replaceable;
use super::stack::{self, Stack};
use super::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use super::{memory, own_threads};
use crate::status::{Error, PIPELINE_ERR_INTERNAL, PIPELINE_ERR_NO_MEMORY, PIPELINE_ERR_SYSTEM, Result};
use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    static ENDED: Cell<bool> = const { Cell::new(false) };
    static WORKS_FOR: Cell<u64> = const { Cell::new(0) };
    /// The hooks at the beginning of this thread of the library.
    static HOOKED: Cell<Option<&'static Hooks>> = const { Cell::new(None) };
}

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// The calling thread's number, which no other thread ever has.
pub fn token() -> u64 {
    let mut token = TOKEN.get();
    if token == 0 {
        token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
        TOKEN.set(token);
    }
    token
}

pub use super::own_threads::os_id;

/// Whether the thread-end destructor of the calling thread has run.
pub fn ended() -> bool {
    ENDED.get()
}

/// The pipeline for which the calling thread works, as one of its threads; 0: none.
#[inline]
pub fn works_for() -> u64 {
    WORKS_FOR.get()
}

/// Marks the calling thread as one of the library's, working for a pipeline.
pub fn set_works_for(pipeline_id: u64) {
    WORKS_FOR.set(pipeline_id);
}

/// The first 16 bytes of the calling thread's name.
pub fn name() -> [u8; 16] {
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}

/// The key whose destructor reports a thread's end, plus one; 0: not made yet.
static KEY: AtomicU64 = AtomicU64::new(0);
static AT_END: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the thread-end key, once. `at_end` is called at the end of each armed thread, on that thread, with its token.
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
            PIPELINE_ERR_SYSTEM,
            format!("pthread_key_create: {}", std::io::Error::from_raw_os_error(failed)),
        ));
    }
    if KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: the key was made above and never used.
        unsafe { libc::pthread_key_delete(key) };
    }
    Ok(())
}

/// Arms the calling thread: its end will be reported. `false`: there is no memory for that.
pub fn arm_end() -> bool {
    let key = KEY.load(Ordering::Acquire);
    // SAFETY: the key exists, and its value is a number that is never dereferenced.
    key != 0 && unsafe { libc::pthread_setspecific((key - 1) as u32, token() as *const c_void) } == 0
}

extern "C" fn thread_ends(value: *mut c_void) {
    let _uncancelled = Uncancelled::begin();
    ENDED.set(true);
    // A callback has ended the thread, if it is one of the library's. This comes before the pipeline forgets the thread, because a pipeline that
    // is destroyed calls nothing.
    run_stop_hook();
    let at_end = AT_END.load(Ordering::Acquire);
    if !at_end.is_null() {
        // SAFETY: only `on_end` writes AT_END, and always a `fn(u64)`.
        let at_end: fn(u64) = unsafe { std::mem::transmute(at_end) };
        let _ = catch_unwind(AssertUnwindSafe(|| at_end(value as u64)));
    }
    end_listed();
}

/// A hook of the host.
type Hook = unsafe extern "C" fn(*mut c_void);

#[derive(Clone, Copy)]
struct Hooks {
    start: Option<Hook>,
    stop: Option<Hook>,
    user_data: *mut c_void,
}

static HOOKS: Replaceable<Hooks> = Replaceable::new();

/// Sets the hooks that each thread of the library calls at its beginning and at its end.
pub fn set_hooks(start: Option<Hook>, stop: Option<Hook>, user_data: *mut c_void) {
    HOOKS.set(Some(Hooks { start, stop, user_data }));
}

/// Calls the start hook, and notes the stop hook that belongs to it. These are two plain functions and no guard, because a writer's frame must
/// have nothing to unwind.
pub fn run_start_hook() {
    let hooks = HOOKS.get();
    HOOKED.set(hooks);
    if let Some(Hooks { start: Some(start), user_data, .. }) = hooks {
        // SAFETY: the host promises that the function may be called with this data.
        unsafe { start(*user_data) };
    }
}

/// Calls the stop hook that was set together with the start hook that this thread has called.
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
    /// Its index in the simulator.
    #[cfg(simulator)]
    index: Option<usize>,
}

// SAFETY: a pthread_t names a thread, and any thread may join it.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Waits for the thread's end.
    pub fn join(self) {
        #[cfg(simulator)]
        if let Some(index) = self.index {
            super::simulator::join(index);
        }
        // SAFETY: the thread is joinable, and the handle is used once.
        unsafe { libc::pthread_join(self.thread, std::ptr::null_mut()) };
    }

    /// Lets the thread end by itself.
    pub fn detach(self) {
        // SAFETY: the thread is joinable, and the handle is used once.
        unsafe { libc::pthread_detach(self.thread) };
    }
}

/// The calling thread is one of the library's. The process may end without it. To be called on threads that are armed ([`arm_end`]) or call
/// [`end_listed`].
pub fn list_own() {
    own_threads::begins();
}

/// The calling thread, which is listed, ends.
fn end_listed() {
    own_threads::ends();
}

/// The same as [`list_own`], for a thread that waits when there is no memory.
pub fn begin_own() {
    memory::mark_own_thread();
    list_own();
}

/// The life of a thread of the library, with its hooks. `None`: a panic has ended it.
fn live<R>(name: &CString, body: impl FnOnce() -> R) -> Option<R> {
    begin_own();
    set_name(name);
    run_start_hook();
    let result = catch_unwind(AssertUnwindSafe(body)).ok();
    run_stop_hook();
    end_listed();
    result
}

/// Starts a thread of the library that can be joined. A panic ends the thread only.
pub fn spawn(name: &str, body: Box<dyn FnOnce() + Send>) -> Result<Handle> {
    type Start = (CString, Box<dyn FnOnce() + Send>);
    extern "C-unwind" fn main(start: *mut c_void) -> *mut c_void {
        // SAFETY: the pointer comes from the box below, and only this thread has it.
        let (name, body) = *unsafe { Box::from_raw(start.cast::<Start>()) };
        live(&name, body);
        std::ptr::null_mut()
    }
    let start = Box::into_raw(Box::<Start>::new((short_name(name), body)));
    // SAFETY: after an error no thread has the pointer.
    create(main, start.cast(), Stack::Own, false).inspect_err(|_| drop(unsafe { Box::from_raw(start) }))
}

/// Runs `body` on a temporary thread and waits for its end. This is for work that needs more stack than a caller may have, which is 16 KiB at
/// the least. A thread of the library runs the body itself. The thread calls the host's hooks, and works for the caller's pipeline.
pub fn on_own_stack<R: Send>(name: &str, body: impl FnOnce() -> R + Send) -> Result<R> {
    struct Job<'a, F, R> {
        name: &'a str,
        works_for: u64,
        body: Option<F>,
        result: Option<R>,
    }
    extern "C-unwind" fn main<F: FnOnce() -> R, R>(job: *mut c_void) -> *mut c_void {
        // SAFETY: `on_own_stack` does not use the value until this thread has ended.
        let job = unsafe { &mut *job.cast::<Job<'_, F, R>>() };
        set_works_for(job.works_for);
        // The name matters because the system may list the thread for a moment after its end.
        job.result = job.body.take().and_then(|body| live(&short_name(job.name), body));
        std::ptr::null_mut()
    }
    fn run<F: FnOnce() -> R, R>(mut job: Job<'_, F, R>) -> Result<R> {
        run_plain(main::<F, R>, (&raw mut job).cast())?;
        job.result
            .ok_or_else(|| Error::new(PIPELINE_ERR_INTERNAL, "a panic was caught on a thread of the library"))
    }
    if memory::is_own_thread() {
        return Ok(body());
    }
    run(Job { name, works_for: works_for(), body: Some(body), result: None })
}

/// The start routine of a plain thread.
pub type Main = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// Starts a detached plain thread, for a writer. There is no frame between its start and `main`, so that a callback that ends
/// the thread unwinds only through frames that hold nothing.
pub fn spawn_plain(main: Main, argument: *mut c_void) -> Result<()> {
    create(main, argument, Stack::Writer, true).map(|_| ())
}

/// A function of a library that extends this one, such as a storage with a thread of its own.
pub type Function = unsafe extern "C-unwind" fn(*mut c_void);

/// Starts a detached thread of the library that runs a foreign function, between the hooks of the host. As on a writer's thread, no frame below
/// the function has anything to unwind.
pub fn spawn_function(name: &str, function: Function, argument: *mut c_void) -> Result<()> {
    struct Start {
        name: [u8; 16],
        function: Function,
        argument: *mut c_void,
    }
    extern "C-unwind" fn main(start: *mut c_void) -> *mut c_void {
        // SAFETY: the pointer comes from the box below, and only this thread has it. The value is moved out, and needs no drop.
        let Start { name, function, argument } = *unsafe { Box::from_raw(start.cast::<Start>()) };
        begin_own();
        // SAFETY: the name ends in a NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        arm_end();
        run_start_hook();
        // SAFETY: the caller of `spawn_function` has promised that the function may be called with the argument.
        unsafe { function(argument) };
        run_stop_hook();
        end_listed();
        std::ptr::null_mut()
    }
    let mut start = Start { name: [0; 16], function, argument };
    let short = short_name(name);
    start.name[..short.as_bytes().len()].copy_from_slice(short.as_bytes());
    let start = Box::into_raw(Box::new(start));
    // SAFETY: after an error no thread has the pointer.
    spawn_plain(main, start.cast()).inspect_err(|_| drop(unsafe { Box::from_raw(start) }))
}

/// Starts a plain thread and waits for its end.
pub fn run_plain(main: Main, argument: *mut c_void) -> Result<()> {
    create(main, argument, Stack::Own, false).map(Handle::join)
}

fn create(main: Main, argument: *mut c_void, stack: Stack, detached: bool) -> Result<Handle> {
    #[cfg(simulator)]
    if super::simulator::is_simulated() {
        if super::simulator::refuse_thread() {
            let text = "pthread_create: Resource temporarily unavailable (simulated)";
            return Err(Error::new(PIPELINE_ERR_SYSTEM, text));
        }
        let (main, argument, index) = super::simulator::wrap(main, argument);
        let handle = create_thread(main, argument, stack, detached)?;
        return Ok(Handle { index: Some(index), ..handle });
    }
    create_thread(main, argument, stack, detached)
}

fn create_thread(main: Main, argument: *mut c_void, kind: Stack, detached: bool) -> Result<Handle> {
    // SAFETY: all structures are locals that are initialised before use. A "C-unwind" function has the calling convention of a "C"
    // function.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_attr_init(&raw mut attributes) != 0 {
            return Err(Error::new(PIPELINE_ERR_NO_MEMORY, "pthread_attr_init: no memory"));
        }
        let mut host = 0;
        libc::pthread_attr_getstacksize(&raw const attributes, &raw mut host);
        let bytes = kind.bytes(host);
        libc::pthread_attr_setstacksize(&raw mut attributes, bytes);
        if detached {
            libc::pthread_attr_setdetachstate(&raw mut attributes, libc::PTHREAD_CREATE_DETACHED);
        }
        // The new thread inherits the mask, so the signals are blocked before it exists and restored here afterwards.
        let mut blocked = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&raw mut blocked);
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT] {
            libc::sigdelset(&raw mut blocked, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, &raw mut before);
        let main: extern "C" fn(*mut c_void) -> *mut c_void = std::mem::transmute(main);
        let mut thread = std::mem::zeroed();
        let failed = libc::pthread_create(&raw mut thread, &raw const attributes, main, argument);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        libc::pthread_attr_destroy(&raw mut attributes);
        if failed != 0 {
            return Err(stack::refused(failed, bytes));
        }
        Ok(Handle {
            thread,
            #[cfg(simulator)]
            index: None,
        })
    }
}

/// A name that a thread can have: at most 15 bytes, no NUL.
pub fn short_name(name: &str) -> CString {
    let bytes: Vec<u8> = name.bytes().filter(|&b| b != 0).take(15).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Names the calling thread.
pub fn set_name(name: &CString) {
    // SAFETY: the string is NUL-terminated and has at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Waits a moment between two checks of something that another thread is about to finish: spins at first, then yields.
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
    // SAFETY: the call has no arguments.
    unsafe { libc::sched_yield() };
}
