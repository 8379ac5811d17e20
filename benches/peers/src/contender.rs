//! The harness's interface of a contender (`benches/native/harness/contender.h`), and its implementation for a Rust type.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// One measurement.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Setup {
    pub threads: u32,
    pub payload: u32,
    pub writers: u32,
    pub batch: u32,
    pub lossless: u32,
    pub metrics: u32,
    pub ns_per_tick: f64,
    store: *mut c_void,
    store_payloads: unsafe extern "C" fn(*mut c_void, *const c_void, usize, usize),
}

// SAFETY: any one thread at a time may call the harness's storage.
unsafe impl Send for Setup {}
// SAFETY: as above; the fields are only read.
unsafe impl Sync for Setup {}

impl Setup {
    /// Stores the payloads of the records.
    pub fn store(&self, records: &[Record]) {
        let Some(first) = records.first() else { return };
        // SAFETY: the harness reads the payloads of as many records as there are.
        unsafe {
            (self.store_payloads)(
                self.store,
                first.payload.as_ptr().cast(),
                size_of::<Record>(),
                records.len(),
            )
        }
    }

    /// Stores one payload.
    pub fn store_one(&self, payload: &[u8]) {
        // SAFETY: as above.
        unsafe { (self.store_payloads)(self.store, payload.as_ptr().cast(), 0, 1) }
    }
}

/// Events to capture.
#[repr(C)]
pub struct Burst {
    payloads: *const u8,
    stride: u32,
    mask: u32,
    pub count: u32,
    payload: u32,
}

impl Burst {
    /// The payload of event `i`, which has 64 bytes.
    #[inline]
    pub fn payload(&self, i: u32) -> &[u8; 64] {
        // SAFETY: the harness gives mask + 1 payloads, and these contenders are only measured with 64 bytes.
        unsafe { &*self.payloads.add((i & self.mask) as usize * self.stride as usize).cast() }
    }
}

/// A header of 32 bytes with the time in it, and a payload of 64.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    pub bytes: u32,
    pub kind: u32,
    pub sequence: u64,
    pub time: u64,
    pub thread: u64,
    pub payload: [u8; 64],
}

impl Record {
    #[inline]
    pub fn new(burst: &Burst, i: u32) -> Self {
        Self {
            bytes: 64,
            kind: 7,
            sequence: u64::from(i),
            time: ticks(),
            thread: 0,
            payload: *burst.payload(i),
        }
    }

    pub const EMPTY: Self = Self { bytes: 0, kind: 0, sequence: 0, time: 0, thread: 0, payload: [0; 64] };
}

#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 processor has the instruction.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_nanos() as u64)
    }
}

/// A contender. A process has one instance.
pub trait Contender: Sized + Sync + 'static {
    type Handle;
    fn start(setup: Setup) -> Self;
    fn open(&'static self, thread: u32) -> Self::Handle;
    fn capture(&'static self, handle: &mut Self::Handle, burst: &Burst);
    /// Stores everything that was captured.
    fn stop(&'static self);
}

/// `struct contender` of the harness.
#[repr(C)]
pub struct Entry {
    name: *const c_char,
    configuration: *const c_char,
    start: unsafe extern "C" fn(*const Setup) -> *const c_char,
    open: extern "C" fn(u32) -> *mut c_void,
    capture: unsafe extern "C" fn(*mut c_void, *const Burst),
    close: unsafe extern "C" fn(*mut c_void),
    stop: extern "C" fn() -> *const c_char,
    drain: Option<extern "C" fn(*mut c_void)>,
    stores_at_stop: u32,
    burst_limit: u32,
}

// SAFETY: the pointers are to constants.
unsafe impl Sync for Entry {}

static RUNNING: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

fn running<C: Contender>() -> &'static C {
    // SAFETY: the harness calls `start` of the same entry first, and the contender is never freed.
    unsafe { &*RUNNING.load(Ordering::Relaxed).cast() }
}

unsafe extern "C" fn start<C: Contender>(setup: *const Setup) -> *const c_char {
    // SAFETY: the harness passes a valid setup.
    let contender = Box::new(C::start(unsafe { *setup }));
    RUNNING.store(Box::into_raw(contender).cast(), Ordering::Relaxed);
    std::ptr::null()
}

extern "C" fn open<C: Contender>(thread: u32) -> *mut c_void {
    Box::into_raw(Box::new(running::<C>().open(thread))).cast()
}

unsafe extern "C" fn capture<C: Contender>(handle: *mut c_void, burst: *const Burst) {
    // SAFETY: the handle is from `open` and used by one thread; the harness passes a valid burst.
    unsafe { running::<C>().capture(&mut *handle.cast(), &*burst) }
}

unsafe extern "C" fn close<C: Contender>(handle: *mut c_void) {
    // SAFETY: from `open`, and not used again.
    drop(unsafe { Box::from_raw(handle.cast::<C::Handle>()) });
}

extern "C" fn stop<C: Contender>() -> *const c_char {
    running::<C>().stop();
    std::ptr::null()
}

impl Entry {
    pub const fn of<C: Contender>(
        name: &'static std::ffi::CStr,
        configuration: &'static std::ffi::CStr,
    ) -> Self {
        Self {
            name: name.as_ptr(),
            configuration: configuration.as_ptr(),
            start: start::<C>,
            open: open::<C>,
            capture: capture::<C>,
            close: close::<C>,
            stop: stop::<C>,
            drain: None,
            stores_at_stop: 0,
            burst_limit: 0,
        }
    }
}
