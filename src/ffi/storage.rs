//! Functions of the storage contract: init, partial results of a batch, completing a batch later.

use super::guard::{guard, null, require};
use super::sized;
use super::{storage_journal, storage_perfetto, storage_sqlite};
use crate::batch::BatchView;
use crate::batch::token;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_NULL, Result};
use crate::storage::callback::{CallbackStorage, pipeline_storage_t};
use crate::storage::panic_guard::PanicGuard;
use crate::storage::{
    PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, PIPELINE_STORAGE_RELEASE_ANYWHERE,
    PIPELINE_STORAGE_RELEASE_MARKED, PIPELINE_STORAGE_RELEASE_UNSTORED, Storage,
};

// SAFETY: repr(C), plain integers and nullable pointers, `struct_size` first.
unsafe impl sized::Sized32 for pipeline_storage_t {
    const NAME: &'static str = "pipeline_storage_t";
    // Older programs do not know `finish`.
    const FIRST: usize = std::mem::offset_of!(pipeline_storage_t, finish);
}

/// Reads a caller's storage. After a success the library owns it: dropping it calls its `destroy`.
///
/// # Safety
/// `storage` is NULL or as its `struct_size` says; its functions may be called as documented.
pub(super) unsafe fn take(storage: *const pipeline_storage_t) -> Result<Box<dyn Storage>> {
    // SAFETY: by contract.
    let (mut s, known) = unsafe { sized::read(storage, pipeline_storage_t::default(), "storage") }?;
    if known < size_of::<pipeline_storage_t>() {
        s.finish = None; // the size may end within the field
    }
    // SAFETY: the functions and `user_data` belong together, by contract.
    let owned = unsafe { CallbackStorage::new(s) };
    if s.store.is_none() {
        return Err(Error::new(PIPELINE_ERR_NULL, "pipeline_storage_t.store is NULL"));
    }
    const KNOWN: u32 = PIPELINE_STORAGE_CONCURRENT
        | PIPELINE_STORAGE_META
        | PIPELINE_STORAGE_RELEASE_ANYWHERE
        | PIPELINE_STORAGE_RELEASE_MARKED
        | PIPELINE_STORAGE_RELEASE_UNSTORED;
    if s.flags & !KNOWN != 0 {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!(
                "pipeline_storage_t.flags: PIPELINE_STORAGE_CONCURRENT, PIPELINE_STORAGE_META, \
                 PIPELINE_STORAGE_RELEASE_ANYWHERE, PIPELINE_STORAGE_RELEASE_MARKED and \
                 PIPELINE_STORAGE_RELEASE_UNSTORED allowed, {:#x} given",
                s.flags
            ),
        ));
    }
    // SAFETY: the struct belongs to `owned`, which is forgotten if the storage behind it is taken out.
    if let Some(journal) = unsafe { storage_journal::unwrap(&s) } {
        std::mem::forget(owned);
        return Ok(Box::new(PanicGuard::new(*journal)));
    }
    // SAFETY: as above.
    if let Some(perfetto) = unsafe { storage_perfetto::unwrap(&s) } {
        std::mem::forget(owned);
        return Ok(Box::new(PanicGuard::new(*perfetto)));
    }
    let name = if storage_sqlite::is_ours(&s) { "sqlite" } else { "custom" };
    Ok(Box::new(owned.named(name)))
}

/// Sets every member of `storage` to its default (NULL or 0), and `struct_size` to the caller's. Pass
/// `sizeof(pipeline_storage_t)` as `struct_size`. Any thread. Errors: `PIPELINE_ERR_NULL`, `_VERSION`. Since 0.1.0.
///
/// # Safety
/// `storage` is NULL or points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pipeline_storage_init(storage: *mut pipeline_storage_t, struct_size: usize) -> i32 {
    // SAFETY: by contract.
    guard(|| unsafe { sized::write(storage, struct_size, &pipeline_storage_t::default(), "storage") })
}

/// Reports that the first `stored_prefix` events of a batch are stored. If the batch is tried again, the next attempt has only
/// the events behind them; if it is rejected, these events are not.
///
/// To be called during `store`, or until the token is completed. Any thread. Errors: `PIPELINE_ERR_NULL`;
/// `PIPELINE_ERR_INVALID` if the batch has fewer events; `PIPELINE_ERR_UNKNOWN_TOKEN` if the attempt is already completed.
/// Since 0.1.0.
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

/// Reports that the event at `index` can never be stored. It goes to `dead_letter`. The other events are treated as the result
/// of the attempt says.
///
/// To be called during `store`, or until the token is completed. Any thread. Errors: `PIPELINE_ERR_NULL`;
/// `PIPELINE_ERR_INVALID` if there is no such event; `PIPELINE_ERR_UNKNOWN_TOKEN` if the attempt is already completed;
/// `PIPELINE_ERR_NO_MEMORY`, after which `store` must return `PIPELINE_STORE_RETRY`. Since 0.1.0.
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

/// Completes a batch for which `store` has returned, or is about to return, `PIPELINE_STORE_PENDING`. `token` is the batch's.
/// `result` is `PIPELINE_STORE_OK`, `_RETRY` or `_REJECT`; any other value counts as `PIPELINE_STORE_RETRY`, and in
/// `bad_results`. The batch is no longer valid afterwards.
///
/// Any thread, at any time, callbacks included. `PIPELINE_ERR_UNKNOWN_TOKEN`: the token was never issued or is already
/// completed; nothing is changed. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_complete(token: u64, result: i32) -> i32 {
    guard(|| token::complete(token, 0, result))
}

/// As `pipeline_batch_complete`, but never blocks. If the call would have to wait for a lock that another thread holds, it
/// returns `PIPELINE_ERR_BUSY` and changes nothing. Then call it again later, or let another thread complete the token. For
/// threads that must not block, such as the schedulers of a virtual machine. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_try_complete(token: u64, result: i32) -> i32 {
    guard(|| token::try_complete(token, result))
}

/// Completes a batch as `pipeline_batch_try_complete` does, and returns the next batch in the same call. So a thread that
/// stores batches needs no writer to wake it for each of them.
///
/// `*next` is the next batch, as if `store` had been called with it on the same writer and had returned
/// `PIPELINE_STORE_PENDING`. The caller completes it by its own token. It is valid until then, counts as in flight, and
/// `storage_deadline_ms` applies to it.
///
/// `*next` is NULL if there is no next batch for the caller; later ones go to `store`. This is so if a writer would not claim a
/// batch (there are no events, the pipeline is paused, `linger_us` has not passed, `max_in_flight` is reached, the circuit is
/// open), if an older batch is due, if the writer has ended or its call of `store` has not returned yet, and always with
/// `PIPELINE_ORDERING_PER_PRODUCER`.
///
/// The call takes some tens of nanoseconds for each event of the next batch. After it has claimed the batch, it blocks only
/// while another thread updates the pipeline's counters. Any thread, at any time, callbacks included. Errors: as for
/// `pipeline_batch_try_complete`, and then `*next` is not written; `PIPELINE_ERR_NULL` if `next` is NULL. Since 0.1.0.
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
        require(next, "next")?;
        let given = token::exchange(token, result)?;
        // SAFETY: not NULL, and writable by contract.
        unsafe { *next = given.map_or(std::ptr::null(), |batch| batch.as_ptr().cast_const()) };
        Ok(())
    })
}

/// As `pipeline_batch_complete`, but the first `stored_prefix` events count as stored, whatever `result` says.
/// `PIPELINE_ERR_INVALID` if the batch has fewer events. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn pipeline_batch_complete_at(token: u64, stored_prefix: usize, result: i32) -> i32 {
    guard(|| token::complete(token, stored_prefix, result))
}
