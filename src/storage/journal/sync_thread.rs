//! The storage's thread: waits for the disk on behalf of the writers, and deletes what is too old. It runs only where the options ask for one of these.

use super::options::Sync;
use super::shared::Shared;
use super::sync_queue::Waiting;
use crate::batch::token;
use crate::platform::thread;
use crate::status::Result;
use crate::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Starts the thread if the options ask for one. Nothing waits for its end.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let waits = matches!(shared.options.sync, Sync::Interval | Sync::Batch);
    if !waits && shared.options.segment_age_ns().is_none() {
        return Ok(());
    }
    let shared = Arc::clone(shared);
    thread::spawn("cp-journal", Box::new(move || run(&shared)))?.detach();
    Ok(())
}

fn run(shared: &Arc<Shared>) {
    let mut waiting = Vec::new();
    let interval_ns = u64::from(shared.options.sync_interval_ms) * 1_000_000;
    loop {
        let work = shared.sync_queue.take(&mut waiting, interval_ns, shared.next_look_ns());
        let done = catch_unwind(AssertUnwindSafe(|| {
            if work.sync {
                let _ = shared.sync_segments();
            }
            answer(shared, &mut waiting);
            if !work.stop {
                shared.look_for_old();
            } else if let Err(failure) = shared.state_deleted() {
                shared.messages.warning(&failure, "the number of deleted segments could not be written");
            }
        }));
        if done.is_err() {
            log::error!(
                "journal: a panic was caught on the thread that waits for the disk; please report it"
            );
            waiting.drain(..).for_each(|one| complete(&one, PIPELINE_STORE_RETRY));
        }
        if work.stop {
            return;
        }
    }
}

/// Answers the batches once their segments are on the disk. Each segment is written through once for all batches that wait for it.
fn answer(shared: &Shared, waiting: &mut Vec<Waiting>) {
    // The last one is answered first, so that a panic leaves the others.
    waiting.reverse();
    while let Some(one) = waiting.last() {
        let synced = one.segment.sync_to(one.end);
        if let Err(failure) = &synced {
            shared.note_failed_sync(&one.segment, failure);
        }
        if let Some(one) = waiting.pop() {
            // What was not on the disk is written anew, to another segment.
            complete(&one, if synced.is_ok() { PIPELINE_STORE_OK } else { PIPELINE_STORE_RETRY });
        }
    }
}

fn complete(one: &Waiting, result: i32) {
    // An unknown token means that the pool has given the attempt up.
    let _ = token::complete(one.token, 0, result);
}
