//! AsyncWriter: one thread, one loop. It asks its desk (the pool) what to do, calls the storage, and brings the answer
//! back.
//!
//! No frame below holds anything that unwinding would have to clean up while a storage's function runs: a callback that
//! ends its thread ends only that, and the pool hands the batch to another writer.

use crate::batch::BatchView;
use crate::event::EventView;
use crate::platform::thread;
use crate::storage::{Storage, WriterData};

/// What a writer is to do next. Plain data.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Open itself.
    Open,
    /// Give a batch to `store`.
    Store {
        /// Which batch.
        slot: usize,
        /// As the storage sees it; valid until the task is done.
        batch: *const BatchView,
    },
    /// Give a batch to the dead letter.
    DeadLetter {
        /// Which batch.
        slot: usize,
        /// As the storage sees it; valid until the task is done.
        batch: *const BatchView,
        /// Why.
        reason: i32,
    },
    /// Show every event of a settled batch to `release`.
    Release {
        /// Which batch.
        slot: usize,
    },
    /// Show the overwritten events of a ring to `release`.
    Spill {
        /// Which ring.
        ring: usize,
    },
    /// Flush the storage.
    Flush {
        /// For whom.
        job: u64,
        /// What is left of the time.
        timeout_ms: i64,
    },
    /// End.
    Exit {
        /// Whether `close_writer` is due.
        opened: bool,
        /// What `open_writer` gave.
        data: WriterData,
    },
}

/// Where writers get their tasks: the pool.
pub trait Desk {
    /// Where the events go.
    fn storage(&self) -> &dyn Storage;
    /// What writer `id` is to do; sleeps until there is something.
    fn next(&self, id: u32) -> Task;
    /// It has opened itself.
    fn opened(&self, id: u32, result: Result<WriterData, i32>);
    /// The storage has answered a batch.
    fn stored(&self, id: u32, slot: usize, answer: i32);
    /// The dead letter has answered a batch.
    fn dead_lettered(&self, id: u32, slot: usize, answer: i32);
    /// Calls `show` for every event of a batch.
    fn each_event(&self, slot: usize, show: &mut dyn FnMut(&EventView));
    /// All of them are released.
    fn released(&self, id: u32, slot: usize);
    /// Calls `show` for every overwritten event of a ring that waits for it, and forgets them.
    fn each_spilled(&self, ring: usize, show: &mut dyn FnMut(&EventView));
    /// All of them are released.
    fn spilled(&self, id: u32);
    /// The storage has flushed.
    fn flushed(&self, id: u32, job: u64, answer: i32);
    /// The writer ends.
    fn exited(&self, id: u32);
    /// Whether this is a forked child of the process that the desk belongs to. Reads one word: in a child nothing else
    /// may be touched, whatever was locked at the fork.
    fn forked(&self) -> bool;
}

/// What came of a task.
enum Outcome {
    Opened(Result<WriterData, i32>),
    Answered(i32),
    Done,
}

/// The loop of writer `id`.
pub fn run(desk: &impl Desk, id: u32) {
    loop {
        let task = desk.next(id);
        let outcome = perform(desk, id, &task);
        if desk.forked() {
            // The storage's function forked, and returned in the child as well: there the batch is the parent's still.
            return;
        }
        match (task, outcome) {
            (Task::Open, Outcome::Opened(result)) => desk.opened(id, result),
            (Task::Store { slot, .. }, Outcome::Answered(answer)) => desk.stored(id, slot, answer),
            (Task::DeadLetter { slot, .. }, Outcome::Answered(answer)) => {
                desk.dead_lettered(id, slot, answer)
            }
            (Task::Flush { job, .. }, Outcome::Answered(answer)) => desk.flushed(id, job, answer),
            (Task::Release { slot }, _) => desk.released(id, slot),
            (Task::Spill { .. }, _) => desk.spilled(id),
            (
                Task::Exit { .. }
                | Task::Open
                | Task::Store { .. }
                | Task::DeadLetter { .. }
                | Task::Flush { .. },
                _,
            ) => {
                // Before the pool forgets the writer: once a pipeline is destroyed, nothing of it calls anything.
                thread::run_stop_hook();
                desk.exited(id);
                return;
            }
        }
    }
}

/// Calls the storage: the only place where a writer does.
fn perform(desk: &impl Desk, id: u32, task: &Task) -> Outcome {
    match *task {
        Task::Open => Outcome::Opened(desk.storage().open_writer(id)),
        // SAFETY: the desk keeps the batch until the task is done.
        Task::Store { batch, .. } => Outcome::Answered(desk.storage().store(unsafe { &*batch })),
        Task::DeadLetter { batch, reason, .. } => {
            // SAFETY: the desk keeps the batch until the task is done.
            Outcome::Answered(desk.storage().dead_letter(unsafe { &*batch }, reason))
        }
        Task::Flush { timeout_ms, .. } => Outcome::Answered(desk.storage().flush(timeout_ms)),
        Task::Release { slot } => {
            desk.each_event(slot, &mut |event| desk.storage().release(event));
            Outcome::Done
        }
        Task::Spill { ring } => {
            desk.each_spilled(ring, &mut |event| desk.storage().release(event));
            Outcome::Done
        }
        Task::Exit { opened, data } => {
            if opened {
                desk.storage().close_writer(id, data);
            }
            Outcome::Done
        }
    }
}
