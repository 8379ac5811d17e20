//! The writers' threads: hired, told to leave, replaced when one dies.

use super::Pool;
use super::faults::{Fault, What};
use super::release;
use super::scaler::{Decision, PIPELINE_SCALE_CALLER, PIPELINE_SCALE_NONE};
use super::state::{Doing, Life, State, Writer};
use crate::config::PIPELINE_MAX_WRITERS;
use crate::platform::sync::Ordering;
use crate::platform::{park, thread, time};
use crate::status::{Error, PIPELINE_ERR_CLOSED, PIPELINE_ERR_LIMIT, Result};
use crate::storage::WriterData;
use crate::writer;
use std::ffi::c_void;
use std::sync::Arc;

/// What a writer's thread is started with.
struct Start {
    pool: Arc<Pool>,
    id: u32,
}

impl Pool {
    /// Sets the number of writers, and turns autoscaling off.
    pub fn scale(self: &Arc<Self>, writers: u32) -> Result<()> {
        if writers > PIPELINE_MAX_WRITERS {
            return Err(Error::new(
                PIPELINE_ERR_LIMIT,
                format!("writers: 0 to {PIPELINE_MAX_WRITERS} allowed, {writers} given"),
            ));
        }
        let mut st = self.lock();
        Self::running(&st, &self.name)?;
        let was_on = st.config.autoscales();
        (st.config.min_writers, st.config.max_writers) = (0, 0);
        let manned = self.set_crew(&mut st, writers, PIPELINE_SCALE_CALLER);
        drop(st);
        self.call_all();
        let off = if was_on { "; autoscaling is off" } else { "" };
        log::info!("pipeline {}: scaled to {writers} writers{off}", self.name);
        manned
    }

    /// The first writers start.
    pub(super) fn man(self: &Arc<Self>, writers: u32) -> Result<()> {
        let mut st = self.lock();
        Self::running(&st, &self.name)?;
        self.set_crew(&mut st, writers, PIPELINE_SCALE_NONE)
    }

    /// Brings the crew to this number: missing writers start, surplus ones are told to leave (`call_all` is to
    /// follow). If it fails, those writers that could start go on.
    pub(super) fn set_crew(self: &Arc<Self>, st: &mut State, writers: u32, reason: u32) -> Result<()> {
        if reason != PIPELINE_SCALE_NONE {
            let from = st.target;
            st.scaler.note(Decision { from, to: writers, reason }, time::now_ns());
        }
        st.target = writers;
        st.config.writers = writers;
        // Surplus: idle ones first, as they can leave at once.
        let mut surplus = st.staying().saturating_sub(writers);
        for wanted in [true, false] {
            for w in st.writers.iter_mut().rev() {
                let idle = !matches!(w.doing, Doing::Calling(_));
                if surplus > 0 && !w.leaving && !w.stuck && idle == wanted {
                    w.leaving = true;
                    surplus -= 1;
                }
            }
        }
        while st.staying() < writers {
            self.hire(st, 0)?;
        }
        Ok(())
    }

    /// Everybody shall look again, those too who wait to open themselves.
    pub(super) fn call_all(&self) {
        self.openers.fetch_add(1, Ordering::AcqRel);
        park::wake(&self.openers, u32::MAX);
        self.front().call(u32::MAX);
    }

    /// Starts one more writer, which opens itself not before that time.
    pub(super) fn hire(self: &Arc<Self>, st: &mut State, not_before: u64) -> Result<()> {
        if st.life == Life::Stopped {
            return Err(Error::new(PIPELINE_ERR_CLOSED, format!("pipeline {} is closed", self.name)));
        }
        let id = (0..).find(|id| st.writers.iter().all(|w| w.id != *id)).unwrap_or(0);
        let start = Box::into_raw(Box::new(Start { pool: Arc::clone(self), id })).cast::<c_void>();
        st.writers.push(Writer {
            id,
            token: 0,
            tid: 0,
            doing: Doing::Opening(not_before),
            slot: None,
            leaving: false,
            stuck: false,
            opened: false,
            data: WriterData::NONE,
            open_failures: 0,
            open_status: 0,
            start,
            rests: false,
            rests_until: 0,
            misplaced: None,
            attempts: 0,
            events: 0,
            bytes: 0,
            retries: 0,
            call_ns: 0,
        });
        if let Err(error) = thread::spawn_plain(writer_main, start) {
            st.writers.retain(|w| w.id != id);
            // SAFETY: no thread got it.
            drop(unsafe { Box::from_raw(start.cast::<Start>()) });
            return Err(error);
        }
        Ok(())
    }

    /// A thread has ended that had used this library: gives its rings back; if it was a writer that a callback had ended,
    /// its batch goes to another.
    pub fn thread_ended(self: &Arc<Self>, token: u64) {
        self.rings.detach_owner(token);
        let mut st = self.lock();
        let Some(at) = st.writers.iter().position(|w| w.token == token) else { return };
        let id = st.writers[at].id;
        let in_call = matches!(st.writers[at].doing, Doing::Calling(_));
        st.set_doing(id, Doing::Opening(0));
        let dead = st.writers.remove(at);
        if in_call {
            st.calls = st.calls.saturating_sub(1);
        }
        let now = time::now_ns();
        let (batch, attempt) =
            dead.slot.and_then(|slot| st.batch(slot)).map_or((0, 0), |b| (b.id, b.attempt));
        let fault = Fault { writer: id, batch, attempt, what: What::Ended, at_ns: now };
        st.faults.note(fault);
        let times = st.faults.record(id).restarts;
        // The first death costs no time; from the second in a row on, twice as much each time.
        let deaths = st.deaths_in_a_row;
        st.deaths_in_a_row += 1;
        let pause = if deaths == 0 { 0 } else { (1_000_000u64 << deaths.min(10)).min(1_000_000_000) };
        // (This runs on the thread that ends.)
        let (ring, start) = release::take_spilling();
        if let Some(log) = self.rings.all().get(ring).and_then(|r| r.spill()) {
            log.settle(start);
        }
        if let Some(slot) = dead.slot {
            self.redeliver(&mut st, slot, now);
        }
        for job in st.flushes.iter_mut().filter(|j| j.runner == Some(id)) {
            job.runner = None;
        }
        let replaced = if st.staying() < st.wanted() { self.hire(&mut st, now + pause) } else { Ok(()) };
        self.notify(&st);
        let news = std::mem::take(&mut st.news);
        drop(st);
        log::error!(
            "pipeline {}: {fault} ({times} times under this id); its batch goes to another",
            self.name
        );
        self.tell(news);
        if let Err(error) = replaced {
            log::error!("pipeline {}: no writer in its place: {error}", self.name);
            self.call_supervisor();
        }
        self.front().call(u32::MAX);
        // SAFETY: the writer's own reference, which its thread can no longer give back.
        drop(unsafe { Box::from_raw(dead.start.cast::<Start>()) });
        self.last_one_out();
    }
}

/// A writer's thread. Plain: see `writer`.
extern "C-unwind" fn writer_main(start: *mut c_void) -> *mut c_void {
    begin_writer(start);
    thread::run_start_hook();
    // SAFETY: made by `hire`, freed by `end_writer` or, if a callback ends the thread, by `thread_ended`.
    let (pool, id) = unsafe { (&(*start.cast::<Start>()).pool, (*start.cast::<Start>()).id) };
    writer::run(pool, id);
    if pool.front().forked() {
        // A storage's function forked and returned in the child: its only thread ends, and touches nothing of ours.
        return std::ptr::null_mut();
    }
    end_writer(start);
    std::ptr::null_mut()
}

fn begin_writer(start: *mut c_void) {
    // SAFETY: as in `writer_main`.
    let Start { pool, id } = unsafe { &*start.cast::<Start>() };
    thread::set_name(&thread::short_name(&format!("cp-{id}-{}", pool.name)));
    thread::set_works_for(pool.id);
    thread::arm_end();
    let refused = pool.placement.take().err();
    if let Some(refusal) = &refused {
        log::warn!(
            "pipeline {}: writer {id} runs elsewhere or otherwise than by {}: {}",
            pool.name,
            refusal.field,
            refusal.error
        );
    }
    let mut st = pool.lock();
    if let Some(writer) = st.writer(*id) {
        writer.misplaced = refused.map(|r| r.field);
        writer.token = thread::token();
        writer.tid = thread::os_id();
    }
}

fn end_writer(start: *mut c_void) {
    // SAFETY: as in `writer_main`; the writer is off the pool's list, so nobody else frees it.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    start.pool.last_one_out();
}
