//! A storage made of C functions.

use super::{
    PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORAGE_RELEASE_ANYWHERE,
    PIPELINE_STORAGE_RELEASE_MARKED, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Storage, WriterData,
};
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_EVENT_RELEASE};
use std::ffi::c_void;

/// The caller's functions and what is handed to each of them; see `pipeline_storage_t`.
#[derive(Clone, Copy)]
pub struct Callbacks {
    /// `PIPELINE_STORAGE_…`.
    pub flags: u32,
    /// Handed to every function.
    pub user_data: *mut c_void,
    /// See `pipeline_storage_t`.
    pub store: Option<unsafe extern "C-unwind" fn(*mut c_void, *const BatchView) -> i32>,
    /// See `pipeline_storage_t`.
    pub open_writer: Option<unsafe extern "C-unwind" fn(*mut c_void, u32, *mut *mut c_void) -> i32>,
    /// See `pipeline_storage_t`.
    pub close_writer: Option<unsafe extern "C-unwind" fn(*mut c_void, u32, *mut c_void)>,
    /// See `pipeline_storage_t`.
    pub flush: Option<unsafe extern "C-unwind" fn(*mut c_void, i64) -> i32>,
    /// See `pipeline_storage_t`.
    pub dead_letter: Option<unsafe extern "C-unwind" fn(*mut c_void, *const BatchView, i32) -> i32>,
    /// See `pipeline_storage_t`.
    pub release: Option<unsafe extern "C-unwind" fn(*mut c_void, *const EventView)>,
    /// See `pipeline_storage_t`.
    pub destroy: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
}

/// A storage made of C functions. Dropping it runs its `destroy`: exactly once, by ownership.
pub struct CallbackStorage(Callbacks);

// SAFETY: the contract of `pipeline_storage_t` says that its functions are called on writer threads, and overlap only
// with PIPELINE_STORAGE_CONCURRENT; `user_data` is never dereferenced here.
unsafe impl Send for CallbackStorage {}
// SAFETY: as above.
unsafe impl Sync for CallbackStorage {}

impl CallbackStorage {
    /// Takes over the caller's functions.
    ///
    /// # Safety
    /// The functions may be called with `user_data` as `pipeline_storage_t` documents them.
    pub unsafe fn new(callbacks: Callbacks) -> Self {
        Self(callbacks)
    }
}

// Every call below is made from a frame that holds nothing to unwind, so that a callback which ends its thread all the
// same ends only that (the writer's key destructor then hands its batch on).
//
// SAFETY: `CallbackStorage::new` was promised functions that keep to the contract.
unsafe impl Storage for CallbackStorage {
    fn concurrent(&self) -> bool {
        self.0.flags & PIPELINE_STORAGE_CONCURRENT != 0
    }

    fn wants_meta(&self) -> bool {
        self.0.flags & PIPELINE_STORAGE_META != 0
    }

    fn store(&self, batch: &BatchView) -> i32 {
        match self.0.store {
            // SAFETY: promised at `new`.
            Some(store) => unsafe { store(self.0.user_data, batch) },
            None => PIPELINE_STORE_RETRY,
        }
    }

    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        let mut data = std::ptr::null_mut();
        match self.0.open_writer {
            // SAFETY: promised at `new`.
            Some(open) => match unsafe { open(self.0.user_data, writer_id, &raw mut data) } {
                0 => Ok(WriterData(data)),
                status => Err(status),
            },
            None => Ok(WriterData::NONE),
        }
    }

    fn close_writer(&self, writer_id: u32, writer_data: WriterData) {
        if let Some(close) = self.0.close_writer {
            // SAFETY: promised at `new`.
            unsafe { close(self.0.user_data, writer_id, writer_data.0) }
        }
    }

    fn has_flush(&self) -> bool {
        self.0.flush.is_some()
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        match self.0.flush {
            // SAFETY: promised at `new`.
            Some(flush) => unsafe { flush(self.0.user_data, timeout_ms) },
            None => 0,
        }
    }

    fn has_dead_letter(&self) -> bool {
        self.0.dead_letter.is_some()
    }

    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        match self.0.dead_letter {
            // SAFETY: promised at `new`.
            Some(dead_letter) => unsafe { dead_letter(self.0.user_data, batch, reason) },
            None => PIPELINE_STORE_REJECT,
        }
    }

    fn has_release(&self) -> bool {
        self.0.release.is_some()
    }

    fn releases_anywhere(&self) -> bool {
        self.0.flags & PIPELINE_STORAGE_RELEASE_ANYWHERE != 0
    }

    fn releases_marked(&self) -> bool {
        self.0.flags & PIPELINE_STORAGE_RELEASE_MARKED != 0
    }

    fn release(&self, event: &EventView) {
        if self.releases_marked() && event.flags & PIPELINE_EVENT_RELEASE == 0 {
            return;
        }
        if let Some(release) = self.0.release {
            // SAFETY: promised at `new`.
            unsafe { release(self.0.user_data, event) }
        }
    }
}

impl Drop for CallbackStorage {
    fn drop(&mut self) {
        if let Some(destroy) = self.0.destroy {
            // SAFETY: promised at `new`; a storage is dropped once.
            unsafe { destroy(self.0.user_data) }
        }
    }
}
