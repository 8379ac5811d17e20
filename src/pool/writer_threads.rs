//! The writers' threads: started, ended, replaced when one dies.

use super::Pool;
use super::release;
use super::results::pause_ns;
use super::state::State;
use super::state::faults::{Fault, What};
use super::state::flushes::Finish;
use super::writer;
use crate::batch::Phase;
use crate::config::PIPELINE_MAX_WRITERS;
use crate::platform::{thread, time};
use crate::status::{Error, PIPELINE_ERR_LIMIT, Result};
use crate::transform::Wrong;
use log::Level;
use std::ffi::c_void;
use std::sync::Arc;

/// What a writer's thread is started with.
struct Start {
    pool: Arc<Pool>,
    id: u32,
}

impl Pool {
    /// Starts one more writer. It opens itself at the time `not_before` at the earliest.
    pub(super) fn start_writer(self: &Arc<Self>, st: &mut State, not_before: u64) -> Result<()> {
        if st.life.has_stopped() {
            return Err(self.closed(" is closed"));
        }
        let id = st.writers.reserve()?;
        // Writers that were told to end, and hang in a call, must not lead to more and more threads.
        let most = 2 * (PIPELINE_MAX_WRITERS + st.config.max_in_doubt);
        let threads = st.writers.list.len();
        if threads as u32 >= most {
            return Err(Error::new(
                PIPELINE_ERR_LIMIT,
                format!(
                    "writers: {threads} threads have not ended, {most} allowed: calls of the storage hang"
                ),
            ));
        }
        let start = Box::into_raw(Box::new(Start { pool: Arc::clone(self), id })).cast::<c_void>();
        st.writers.add(id, start, not_before);
        if let Err(error) = thread::spawn_plain(writer_main, start) {
            st.writers.remove(id);
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start.cast::<Start>()) });
            return Err(error);
        }
        Ok(())
    }

    /// Called when a thread ends that has used this library: gives its rings back. If it is a writer, a callback has ended it, and another
    /// one gets its batch.
    pub fn thread_ended(self: &Arc<Self>, token: u64) {
        self.rings.detach_owner(token);
        let mut st = self.lock();
        if let Some(start) = self.pressure_caller_ended(&mut st, token) {
            self.unlock_changed(st);
            self.call_supervisor();
            // SAFETY: the thread's own reference, which it can no longer give back.
            drop(unsafe { Box::from_raw(start.cast::<Arc<Self>>()) });
            self.tear_down_if_abandoned();
            return;
        }
        let Some(id) = st.writers.list.iter().find(|w| w.token == token).map(|w| w.id) else { return };
        let Some(dead) = st.writers.remove(id) else { return };
        self.keep_permits(&mut st);
        self.leave_shares(&mut st);
        let now = time::now_ns();
        let (batch, attempt) =
            dead.slot.and_then(|slot| st.batches.get(slot)).map_or((0, 0), |b| (b.id, b.attempts));
        let transforms =
            dead.slot.and_then(|slot| st.batches.get(slot)).is_some_and(|b| b.phase == Phase::Transform);
        let what = if transforms { What::Transform(Wrong::Ended) } else { What::Ended };
        let fault = Fault { writer: id, batch, attempt, what, at_ns: now };
        st.faults.note(fault);
        if transforms {
            st.faults.note_transform(fault, 1);
        }
        let times = st.faults.record(id).restarts;
        // The first death costs no time; from the second in a row on there is a pause.
        let deaths = st.writers.deaths_in_a_row;
        st.writers.deaths_in_a_row += 1;
        let pause = if deaths == 0 { 0 } else { pause_ns(deaths) };
        // (This runs on the thread that ends.)
        let (ring, start) = release::take_showing();
        if let Some(log) = self.rings.slot(ring).and_then(|slot| slot.spill()) {
            log.settle(start);
        }
        if let Some(slot) = dead.slot {
            self.call_never_returned(&mut st, slot, now);
        }
        st.flushes.writer_ended(id);
        if st.finish == Finish::Running(id) {
            st.finished(Finish::Ended);
        }
        st.report(
            Level::Error,
            format!("{fault} ({times} times under this writer id); another writer goes on with the batch"),
        );
        let replaced = if st.writers.staying() < st.writers_wanted() {
            self.start_writer(&mut st, now + pause)
        } else {
            Ok(())
        };
        if let Err(error) = &replaced {
            st.report(Level::Error, format!("no writer in its place: {error}"));
        }
        self.unlock_changed(st);
        if replaced.is_err() {
            self.call_supervisor();
        }
        self.intake().wake(u32::MAX);
        // SAFETY: the writer's own reference, which its thread can no longer give back.
        drop(unsafe { Box::from_raw(dead.start.cast::<Start>()) });
        self.tear_down_if_abandoned();
    }
}

/// A writer's thread. Nothing in it needs to be unwound: see `writer`.
extern "C-unwind" fn writer_main(start: *mut c_void) -> *mut c_void {
    begin_writer(start);
    thread::run_start_hook();
    // SAFETY: made by `start_writer`, freed by `end_writer` or, if a callback ends the thread, by `thread_ended`.
    let (pool, id) = unsafe { (&(*start.cast::<Start>()).pool, (*start.cast::<Start>()).id) };
    writer::run(pool, id);
    if pool.intake().forked() {
        // A storage's function forked and returned in the child. The child's only thread ends, and touches nothing of the parent's.
        return std::ptr::null_mut();
    }
    end_writer(start);
    std::ptr::null_mut()
}

fn begin_writer(start: *mut c_void) {
    // SAFETY: as in `writer_main`.
    let Start { pool, id } = unsafe { &*start.cast::<Start>() };
    thread::begin_own();
    thread::set_name(&thread::short_name(&format!("cp-{id}-{}", pool.name)));
    thread::set_works_for(pool.id);
    thread::arm_end();
    let refused = pool.placement.apply().err();
    if let Some(refusal) = &refused {
        log::warn!(
            "pipeline {}: writer {id} runs without its {}, which the system has refused: {}",
            pool.name,
            refusal.field,
            refusal.error
        );
    }
    let mut st = pool.lock();
    if let Some(writer) = st.writers.get(*id) {
        writer.misplaced = refused.map(|r| r.field);
        writer.token = thread::token();
        writer.tid = thread::os_id();
    }
}

fn end_writer(start: *mut c_void) {
    // SAFETY: as in `writer_main`; the writer is off the pool's list, so no other thread frees it.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    start.pool.tear_down_if_abandoned();
}
