//! One run: a pipeline of random shape whose events go to a journal on simulated files, with faults and power losses; then the faults stop, a
//! fresh event must get through, and the pipeline ends.

use super::Outcome;
use super::shape::JournalShape;
use super::watched::{Record, Settings, Watched};
use crate::producers::{self, Dice, Door, Sources};
use crate::shape::End;
use crate::threads::{PATIENCE, check_at_once, check_time, meddle, spawn, state_of};
use crate::world;
use capture_pipeline::manager::Pipeline;
use capture_pipeline::platform::random::mix;
use capture_pipeline::platform::simulator::{self, files};
use capture_pipeline::platform::sync::{AtomicU32, Ordering};
use capture_pipeline::platform::thread;
use capture_pipeline::pool::shares::limit_calls;
use capture_pipeline::status::{
    PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_BUSY, PIPELINE_ERR_FULL, PIPELINE_ERR_STORAGE,
    PIPELINE_ERR_SYSTEM, PIPELINE_ERR_TIMEOUT, PIPELINE_OK, PIPELINE_SAMPLED,
};
use capture_pipeline::storage::journal::{JournalStorage, OnFull, Sync};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Opens the journal; when it fails too often the faults stop.
fn open(shape: &JournalShape) -> Result<JournalStorage, String> {
    for tries in 0.. {
        match JournalStorage::open(Path::new("/simulated/journal"), shape.options) {
            Ok(journal) => return Ok(journal),
            Err(error) if tries > 40 => return Err(format!("the journal is not opened: {error}")),
            Err(_) if tries == 20 => files::set_faults(files::Faults::default()),
            Err(_) => {}
        }
        if files::open_descriptors() != 0 {
            return Err("an open that failed has left descriptors open".to_owned());
        }
    }
    unreachable!("it ends by then")
}

/// Plays the run of a seed; what went wrong, in words.
pub fn play(shape: &JournalShape, seed: u64) -> Result<Outcome, String> {
    let mut dice = Dice(mix(seed ^ 0xD1CE));
    // The limit is the process's, and may be left from the run before.
    limit_calls(0).map_err(|error| error.to_string())?;
    files::make_folder("/simulated");
    files::set_traits(shape.traits);
    files::set_faults(shape.faults);
    let journal = open(shape)?;
    let record = Arc::new(Mutex::new(Record { to_lose: shape.power_losses, ..Record::default() }));
    let settings = Settings {
        span_bytes: shape.span_bytes,
        attached: shape.attached,
        hides: shape.hides,
        sync: shape.options.sync,
    };
    let watched = Watched::new(journal, settings, &record, Dice(dice.roll()));
    let sources = Arc::new(Sources::default());
    let mut run = Run { shape, record, sources, wrong: Vec::new() };
    let pipeline = match Pipeline::start(shape.pool.config.clone(), watched) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(error) if error.status == PIPELINE_ERR_SYSTEM => {
            files::set_faults(files::Faults::default());
            return run.finish(None);
        }
        Err(error) => return Err(format!("start: {error}")),
    };
    let live = Arc::new(AtomicU32::new(shape.pool.producers as u32));
    let lives: Vec<_> = (0..shape.pool.producers)
        .map(|_| {
            let (pipeline, sources, live) =
                (Arc::clone(&pipeline), Arc::clone(&run.sources), Arc::clone(&live));
            let (events, burst, life) =
                (shape.pool.events, [1, 4, 32, 1_000][dice.below(4) as usize], Dice(dice.roll()));
            spawn(move || {
                let lived = producers::live(&pipeline, &sources, life, events, burst);
                live.fetch_sub(1, Ordering::AcqRel);
                lived
            })
        })
        .collect();
    let meddler = shape.pool.meddling.then(|| {
        let (pipeline, live) = (Arc::clone(&pipeline), Arc::clone(&live));
        let (pool, dice) = (shape.pool.clone(), Dice(dice.roll()));
        spawn(move || meddle(&pipeline, &pool, None, dice, &live))
    });
    let power = {
        let (shape, dice) = (shape.clone(), Dice(dice.roll()));
        let (record, live) = (Arc::clone(&run.record), Arc::clone(&live));
        spawn(move || {
            disturb(&shape, dice, &record, &live);
            Ok(())
        })
    };
    if shape.pool.end != End::Quiet {
        let most_us = [20, 300, 30_000, 300_000][dice.below(4) as usize];
        world::sleep(Duration::from_micros(dice.below(most_us)));
    } else {
        lives.into_iter().for_each(thread::Handle::join);
        meddler.into_iter().for_each(thread::Handle::join);
        power.join();
        return run.finish_quietly(pipeline, dice);
    }
    if shape.pool.end == End::Close {
        let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
        let timeout = Duration::from_millis(if dice.once_in(2) { 5_000 } else { dice.below(50) });
        let closed = pipeline.close(Some(timeout));
        run.wrong.extend(check_time("pipeline_close", began, stalled, timeout).err());
        match closed {
            Err(e)
                if !matches!(e.status, PIPELINE_ERR_TIMEOUT | PIPELINE_ERR_STORAGE | PIPELINE_ERR_SYSTEM) =>
            {
                run.wrong.push(format!("close: {e}"));
            }
            _ => {}
        }
    }
    lives.into_iter().for_each(thread::Handle::join);
    meddler.into_iter().for_each(thread::Handle::join);
    power.join();
    files::set_faults(files::Faults::default());
    files::set_free(None);
    if shape.pool.end == End::Abandon {
        let Some(pipeline) = Arc::into_inner(pipeline) else { return Err("still held".to_owned()) };
        let (began, stalled) = (world::now_ns(), simulator::stalled_ns());
        pipeline.abandon();
        run.wrong.extend(check_at_once("pipeline_abandon", began, stalled).err());
        return run.finish(None);
    }
    run.destroy(&pipeline);
    let metrics = pipeline.metrics();
    drop(pipeline);
    run.finish(Some(metrics))
}

/// Power losses, and a disk that is full for a while.
fn disturb(shape: &JournalShape, mut dice: Dice, record: &Mutex<Record>, live: &AtomicU32) {
    while live.load(Ordering::Acquire) > 0 {
        world::sleep(Duration::from_micros(dice.below([500, 5_000, 50_000][dice.clone().below(3) as usize])));
        if dice.once_in(8) {
            record.lock().unwrap().lose_power();
        }
        if shape.small_disk {
            let bytes = if shape.options.min_free_disk != 0 { 140 << 10 } else { 20 << 10 };
            files::set_free((!dice.once_in(3)).then(|| dice.below(bytes)));
        }
    }
    files::set_free(None);
}

/// A run in progress.
struct Run<'a> {
    shape: &'a JournalShape,
    record: Arc<Mutex<Record>>,
    sources: Arc<Sources>,
    wrong: Vec<String>,
}

impl Run<'_> {
    fn finish_quietly(mut self, pipeline: Arc<Pipeline>, mut dice: Dice) -> Result<Outcome, String> {
        files::set_faults(files::Faults::default());
        files::set_free(None);
        pipeline.resume().map_err(|e| format!("resume: {e}"))?;
        loop {
            match pipeline.scale(1 + dice.below(4) as u32) {
                Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
                other => break other.map_err(|e| format!("scale: {e}"))?,
            }
        }
        self.fresh_event(&pipeline)?;
        loop {
            match pipeline.close(Some(PATIENCE)) {
                Err(error) if error.status == PIPELINE_ERR_SYSTEM => {}
                // A sync that failed meanwhile is told by the last flush.
                Err(error)
                    if error.status == PIPELINE_ERR_STORAGE
                        && files::tally().failed_syncs != 0
                        && self.shape.options.sync != Sync::Never =>
                {
                    break;
                }
                other => break other.map_err(|e| format!("close: {e}: {}", state_of(&pipeline)))?,
            }
        }
        let metrics = pipeline.metrics();
        let l = &metrics.ledger;
        if l.buffered + l.in_flight + l.in_doubt + l.left != 0 {
            self.wrong.push(format!("close has left events behind: {l:?}"));
        }
        self.destroy(&pipeline);
        drop(pipeline);
        self.finish(Some(metrics))
    }

    /// Once the faults have stopped: an event captured now is stored, unless the journal is full and rejects events.
    fn fresh_event(&mut self, pipeline: &Pipeline) -> Result<(), String> {
        let full = self.shape.options.on_full == OnFull::Reject
            && (self.shape.options.max_bytes != 0 || self.shape.options.min_free_disk != 0);
        let mut source = self.sources.new_source();
        let began = world::now_ns();
        let mut told = 0;
        let stored = loop {
            let status = source.offer(&Door::Thread(pipeline), 20);
            let number = u64::from(source.id) << 32 | (source.records.len() as u64 - 1);
            match status {
                PIPELINE_OK => {
                    match pipeline.flush(Some(PATIENCE)) {
                        Ok(()) => {}
                        // The first one tells of syncs that failed before.
                        Err(error) if error.status == PIPELINE_ERR_STORAGE && told < 1 => told += 1,
                        Err(error) => {
                            return Err(format!(
                                "the flush behind a fresh event: {error}: {}",
                                state_of(pipeline)
                            ));
                        }
                    }
                    if full || self.record.lock().unwrap().stored.contains(&number) {
                        break true;
                    }
                }
                PIPELINE_ERR_FULL | PIPELINE_ERR_BUSY | PIPELINE_SAMPLED | PIPELINE_DROPPED_BY_RULE => {}
                _ => return Err(format!("a fresh event is answered {status}: {}", state_of(pipeline))),
            }
            if world::now_ns() - began > PATIENCE.as_nanos() as u64 {
                break false;
            }
            world::sleep(Duration::from_millis(100));
        };
        self.sources.keep(source);
        if stored { Ok(()) } else { Err(format!("no fresh event was stored: {}", state_of(pipeline))) }
    }

    fn destroy(&mut self, pipeline: &Pipeline) {
        let began = world::now_ns();
        loop {
            let (began_call, stalled) = (world::now_ns(), simulator::stalled_ns());
            let done = pipeline.destroy();
            self.wrong.extend(check_at_once("pipeline_destroy", began_call, stalled).err());
            if done.is_ok() {
                return;
            }
            if world::now_ns() - began > PATIENCE.as_nanos() as u64 {
                self.wrong.push(format!("never destroyed: {}", state_of(pipeline)));
                return;
            }
            world::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the storage is gone, with all its descriptors.
    fn finish(self, metrics: Option<capture_pipeline::manager::Metrics>) -> Result<Outcome, String> {
        let Self { record, sources, mut wrong, .. } = self;
        let began = world::now_ns();
        let is_gone = || record.lock().unwrap().dropped == 1 && files::open_descriptors() == 0;
        while !is_gone() {
            if world::now_ns() - began > PATIENCE.as_nanos() as u64 {
                let dropped = record.lock().unwrap().dropped;
                let open = files::open_descriptors();
                wrong.push(format!("the storage was dropped {dropped} times; {open} descriptors are open"));
                break;
            }
            world::sleep(Duration::from_millis(1));
        }
        wrong.extend(files::wrongs());
        let record = std::mem::take(&mut *record.lock().unwrap());
        wrong.extend(record.wrongs.iter().cloned());
        Ok(Outcome {
            sources: std::mem::take(&mut *sources.done.lock()),
            record,
            metrics,
            files: files::contents(),
            deleted: files::deleted(),
            tally: files::tally(),
            wrong,
        })
    }
}
