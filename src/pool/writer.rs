//! AsyncWriter: one thread, one loop. It asks the pool for a task, calls the storage or the transform, and brings the result back.
//!
//! No frame below holds anything that unwinding would have to clean up while a function of the program runs: a callback that ends its thread
//! ends only that, and the pool gives the batch to another writer.

use super::Pool;
use crate::batch::BatchView;
use crate::batch::spans::SpanBatch;
use crate::batch::transforming::Transforming;
use crate::platform::kill_point::{Point, pass};
use crate::platform::thread;
use crate::storage::{PIPELINE_STORE_OK, WriterData};
use std::sync::Arc;

/// A writer's next work. Plain data.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Open itself.
    Open,
    /// Show the events of the batch in a slot to its transform. The pointer is valid until the task is done.
    Transform { slot: usize, work: *mut Transforming },
    /// Pass the batch in a slot to `store`. The pointer is valid until the task is done.
    Store { slot: usize, batch: *const BatchView },
    /// Pass it to `store_spans`.
    StoreSpans { slot: usize, batch: *const SpanBatch },
    /// Pass it to `dead_letter`; `reason` is `PIPELINE_REASON_…`.
    DeadLetter { slot: usize, batch: *const BatchView, reason: i32 },
    /// Pass every event of a settled batch to `release`.
    Release { slot: usize },
    /// Pass the overwritten events of a ring to `release`.
    ReleaseOverwritten { ring: usize },
    /// Call `flush`, in what is left of its caller's time.
    Flush { id: u64, timeout_ms: i64 },
    /// Call `finish`, in what is left of its caller's time.
    Finish { timeout_ms: i64 },
    /// End; `close_writer` comes first if the writer is `opened`.
    Exit { opened: bool, data: WriterData },
}

/// The loop of writer `id`.
pub(super) fn run(pool: &Arc<Pool>, id: u32) {
    loop {
        let task = pool.next_task(id);
        // (`Open` has a result of its own; what has no result counts as answered with OK.)
        let (opened, answer) = match task {
            Task::Open => (Some(pool.storage().open_writer(id)), PIPELINE_STORE_OK),
            _ => {
                pass(Point::StoreCalled);
                let answer = perform(pool, id, &task);
                pass(Point::StoreAnswered);
                (None, answer)
            }
        };
        if pool.intake().forked() {
            // The storage's function has forked, and returned in the child as well. There the batch still belongs to the parent, and
            // nothing else may be touched, because another thread may have held any lock at the fork.
            return;
        }
        match (task, opened) {
            (Task::Open, Some(result)) => pool.opened(id, result),
            (
                Task::Transform { slot, .. }
                | Task::Store { slot, .. }
                | Task::StoreSpans { slot, .. }
                | Task::DeadLetter { slot, .. }
                | Task::Release { slot },
                _,
            ) => pool.returned(id, slot, answer),
            (Task::ReleaseOverwritten { .. } | Task::Flush { .. } | Task::Finish { .. }, _) => {
                pool.returned_without_batch(id, task, answer)
            }
            (Task::Exit { .. } | Task::Open, _) => {
                // Before the pool forgets the writer: once a pipeline is destroyed, it calls nothing.
                thread::run_stop_hook();
                return pool.exited(id);
            }
        }
    }
}

/// Calls the storage or the transform: the only place where a writer does, `open_writer` excepted.
fn perform(pool: &Arc<Pool>, id: u32, task: &Task) -> i32 {
    let storage = pool.storage();
    match *task {
        // SAFETY: the pool keeps the batch until the task is done.
        Task::Store { batch, .. } => return storage.store(unsafe { &*batch }),
        // SAFETY: the pool keeps the batch until the task is done.
        Task::StoreSpans { batch, .. } => return storage.store_spans(unsafe { &*batch }),
        // SAFETY: the pool keeps the batch until the task is done.
        Task::DeadLetter { batch, reason, .. } => return storage.dead_letter(unsafe { &*batch }, reason),
        Task::Flush { timeout_ms, .. } => return storage.flush(timeout_ms),
        Task::Finish { timeout_ms } => return storage.finish(timeout_ms),
        Task::Transform { work, .. } => pool.transform(work),
        Task::Release { slot } => pool.show_batch(slot, &mut |event| pool.release(event)),
        Task::ReleaseOverwritten { ring } => pool.show_overwritten(ring, &mut |event| pool.release(event)),
        Task::Exit { opened: true, data } => storage.close_writer(id, data),
        Task::Exit { .. } | Task::Open => {}
    }
    PIPELINE_STORE_OK
}
