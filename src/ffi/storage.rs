//! The storage contract's functions: init, and a batch's partial, rejected and later answers.

use super::guard::{guard, null};
use super::sized;
use super::types::pipeline_storage_t;
use crate::batch::BatchView;
use crate::batch::token;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, Result};
use crate::storage::callback::{CallbackStorage, Callbacks};
use crate::storage::{
    PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORAGE_RELEASE_ANYWHERE,
    PIPELINE_STORAGE_RELEASE_MARKED,
};

// SAFETY: repr(C), plain integers and nullable pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_storage_t {
    const NAME: &'static str = "pipeline_storage_t";
}

/// A storage with nothing set.
pub(super) fn blank() -> pipeline_storage_t {
    pipeline_storage_t {
        struct_size: size_of::<pipeline_storage_t>() as u32,
        flags: 0,
        user_data: std::ptr::null_mut(),
        store: None,
        open_writer: None,
        close_writer: None,
        flush: None,
        dead_letter: None,
        release: None,
        destroy: None,
    }
}

/// Reads a caller's storage. From a success on, the storage is ours: dropping it runs its `destroy`.
///
/// # Safety
/// `storage` is NULL or as its `struct_size` says; its functions may be called as documented.
pub(super) unsafe fn take(storage: *const pipeline_storage_t) -> Result<CallbackStorage> {
    // SAFETY: by contract.
    let (s, _) = unsafe { sized::read(storage, blank(), "storage") }?;
    // SAFETY: the functions and `user_data` belong together, by contract.
    let owned = unsafe {
        CallbackStorage::new(Callbacks {
            flags: s.flags,
            user_data: s.user_data,
            store: s.store,
            open_writer: s.open_writer,
            close_writer: s.close_writer,
            flush: s.flush,
            dead_letter: s.dead_letter,
            release: s.release,
            destroy: s.destroy,
        })
    };
    if s.store.is_none() {
        return Err(Error::new(PIPELINE_ERR_NULL, "pipeline_storage_t.store is NULL"));
    }
    let unknown = s.flags
        & !(PIPELINE_STORAGE_CONCURRENT
            | PIPELINE_STORAGE_META
            | PIPELINE_STORAGE_RELEASE_ANYWHERE
            | PIPELINE_STORAGE_RELEASE_MARKED);
    if unknown != 0 {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!(
                "pipeline_storage_t.flags: PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, \
                 PIPELINE_STORAGE_RELEASE_ANYWHERE and PIPELINE_STORAGE_RELEASE_MARKED allowed, \
                 {:#x} given",
                s.flags
            ),
        ));
    }
    Ok(owned)
}

/// Sets every member of `storage` to its default (NULL, 0) and `struct_size` to the caller's. Use
/// `sizeof(pipeline_storage_t)` as `struct_size`. Any thread. Since 0.1.0.
///
/// # Safety
/// `storage` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_init(storage: *mut pipeline_storage_t, struct_size: usize) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(storage, struct_size, &blank(), "storage") })
}

/// Says that the first `stored_prefix` events of a batch are stored: a retry then starts behind them, a reject spares them. During
/// `store`, or until the token is completed. Any thread. `PIPELINE_ERR_INVALID` if the batch has fewer events,
/// `PIPELINE_ERR_UNKNOWN_TOKEN` if its attempt has been answered. Since 0.1.0.
///
/// # Safety
/// `batch` is NULL or the batch that `store` was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_batch_set_stored(batch: *const BatchView, stored_prefix: usize) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or valid.
        let batch = unsafe { batch.as_ref() }.ok_or_else(|| null("batch"))?;
        token::set_stored(batch.token, stored_prefix)
    })
}

/// Says that the event at `index` can never be stored: it goes to the dead letter, the others as answered. During `store`, or until
/// the token is completed. Any thread. `PIPELINE_ERR_INVALID` if there is no such event,
/// `PIPELINE_ERR_UNKNOWN_TOKEN` if its attempt has been answered. Since 0.1.0.
///
/// # Safety
/// `batch` is NULL or the batch that `store` was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_batch_set_rejected(batch: *const BatchView, index: usize) -> i32 {
    guard(|| {
        // SAFETY: by contract NULL or valid.
        let batch = unsafe { batch.as_ref() }.ok_or_else(|| null("batch"))?;
        token::set_rejected(batch.token, index)
    })
}

/// Answers a batch whose `store` answered, or is about to answer, `PIPELINE_STORE_PENDING`. `result` is `PIPELINE_STORE_OK`,
/// `_RETRY` or `_REJECT`; any other value counts as a retry, and in `bad_results`. The batch must not be touched
/// afterwards. Any thread, any time, callbacks included. `PIPELINE_ERR_UNKNOWN_TOKEN` for a token never issued or already
/// answered; that changes nothing. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_complete(token: u64, result: i32) -> i32 {
    guard(|| token::complete(token, 0, result))
}

/// As `pipeline_batch_complete`, but it never waits for another thread: where it would have to, it answers `PIPELINE_ERR_BUSY` and changes
/// nothing, and the token is to be completed later or by another thread. For threads that must not be held up. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_try_complete(token: u64, result: i32) -> i32 {
    guard(|| token::try_complete(token, result))
}

/// As `pipeline_batch_try_complete`, and hands out the next batch in the same call, if there is one: `*next` is that batch, as if `store` had
/// been called with it and had answered `PIPELINE_STORE_PENDING`, in the name of the same writer; or NULL, and whatever comes next goes
/// to `store`. So a thread that stores batches by itself needs no other thread to wake it for each. The next batch is the
/// caller's to complete, by its own token, and valid until then; it counts as in flight, and `storage_deadline_ms` holds for it.
///
/// `*next` is NULL where a writer would claim nothing either (no events, a pause, `linger_us`, `max_in_flight`), where an older batch is due, the
/// writer is gone or its call of `store` has not returned yet, and always where `ordering` is `PIPELINE_ORDERING_PER_PRODUCER`. Any
/// thread, any time, callbacks included. Errors as for `pipeline_batch_try_complete`, then `*next` is not written;
/// `PIPELINE_ERR_NULL` if `next` is NULL. It takes the time of a claim, some tens of nanoseconds an event, and waits for other
/// threads only where they are at the books at the end of it. Since 0.1.0.
///
/// # Safety
/// `next` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_batch_exchange(
    token: u64,
    result: i32,
    next: *mut *const BatchView,
) -> i32 {
    guard(|| {
        if next.is_null() {
            return Err(null("next"));
        }
        let given = token::exchange(token, result)?;
        // SAFETY: not NULL, and writable by contract.
        unsafe { *next = given.map_or(std::ptr::null(), |batch| batch.as_ptr().cast_const()) };
        Ok(())
    })
}

/// As `pipeline_batch_complete`, with the first `stored_prefix` events stored in any case. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_complete_at(token: u64, stored_prefix: usize, result: i32) -> i32 {
    guard(|| token::complete(token, stored_prefix, result))
}
