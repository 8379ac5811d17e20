//! Runs with the journal storage on simulated files. What lies in the files at the end, and what a power loss would have left at some moments, is
//! read by the reader, and compared with what was offered and answered.

mod figures;
mod reading;
mod scene;
mod shape;
mod watched;

use crate::producers::Source;
use crate::shape::End;
use capture_pipeline::journal::reader::Order;
use capture_pipeline::manager::Metrics;
use capture_pipeline::platform::simulator::files::{File, Tally};
use capture_pipeline::platform::simulator::{self, Report};
use capture_pipeline::status::PIPELINE_OK;
pub use reading::remove_scratch;
use shape::JournalShape;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use watched::Record;

/// What a run has left.
pub struct Outcome {
    sources: Vec<Source>,
    record: Record,
    /// At the end; `None`: the pipeline was abandoned.
    metrics: Option<Metrics>,
    files: Vec<File>,
    deleted: Vec<File>,
    tally: Tally,
    wrong: Vec<String>,
}

/// The sums over all runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub stored: u64,
    pub read: u64,
    pub duplicates: u64,
    pub segments: u64,
    pub deleted_segments: u64,
    pub deleted_events: u64,
    pub power_losses: u64,
    pub durable: u64,
    /// Files of live figures that were read.
    pub figures: u64,
    pub files: Tally,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.read += other.read;
        self.duplicates += other.duplicates;
        self.segments += other.segments;
        self.deleted_segments += other.deleted_segments;
        self.deleted_events += other.deleted_events;
        self.power_losses += other.power_losses;
        self.durable += other.durable;
        self.figures += other.figures;
        self.files.add(&other.files);
    }

    /// What never happened in many runs, though it should.
    pub fn missing(&self) -> Vec<&'static str> {
        let files = &self.files;
        let all = [
            ("duplicates", self.duplicates),
            ("deleted segments", self.deleted_segments),
            ("events that must survive a power loss", self.durable),
            ("live figures", self.figures),
            ("short writes", files.short_writes),
            ("full disks", files.full),
            ("failed syncs", files.failed_syncs),
            ("failed cuts", files.failed_cuts),
            ("calls that take long", files.hangs),
            ("closed descriptors", files.closed),
        ];
        all.iter().filter(|(_, count)| *count == 0).map(|(what, _)| *what).collect()
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = &self.files;
        write!(
            f,
            "{} events stored, {} read, {} duplicates, {} segments, {} of them deleted with {} events; {} power losses, which {} \
             events had to survive; {} live figures read; {} calls on files, of which {} failed, {} writes ended early, {} found no space, {} of {} syncs and {} \
             cuts failed, {} calls took long; {} descriptors closed by the host",
            self.stored,
            self.read,
            self.duplicates,
            self.segments,
            self.deleted_segments,
            self.deleted_events,
            self.power_losses,
            self.durable,
            self.figures,
            files.calls,
            files.failures,
            files.short_writes,
            files.full,
            files.failed_syncs,
            files.syncs,
            files.failed_cuts,
            files.hangs,
            files.closed
        )
    }
}

/// Plays and judges the run of a seed.
pub fn run_one(seed: u64) -> (Report, Result<Sums, String>) {
    let shape = JournalShape::random(seed);
    let outcome = Arc::new(Mutex::new(None));
    let (kept, played) = (Arc::clone(&outcome), shape.clone());
    let report = simulator::run(seed, seed % 4 == 1, move || match scene::play(&played, seed) {
        Ok(outcome) => *kept.lock().unwrap() = Some(outcome),
        Err(what) => simulator::fail(&format!("{played:?}\n{what}")),
    });
    let outcome = outcome.lock().unwrap().take().expect("the run has an outcome");
    (report, judge(&shape, outcome).map_err(|wrong| format!("{shape:?}\n{}", wrong.join("\n"))))
}

/// Some of the numbers, for a message.
fn some(numbers: impl Iterator<Item = u64>) -> String {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    let few: Vec<String> = numbers.iter().take(8).map(|number| format!("{number:#x}")).collect();
    format!("{} events: {}", numbers.len(), few.join(" "))
}

fn judge(shape: &JournalShape, outcome: Outcome) -> Result<Sums, Vec<String>> {
    let Outcome { sources, record, metrics, files, deleted, tally, mut wrong } = outcome;
    let sources: HashMap<u32, &Source> = sources.iter().map(|source| (source.id, source)).collect();
    let mut sums = Sums { files: tally, stored: record.stored.len() as u64, ..Sums::default() };
    let order = if record.stored.len() % 2 == 0 { Order::Stored } else { Order::Time };
    let one = |error: String| vec![error];
    let now = reading::read(&files, order, &sources).map_err(one)?;
    let before = reading::read(&deleted, order, &sources).map_err(one)?;
    sums.segments = now.segments + before.segments;
    sums.duplicates = now.losses.duplicates + before.losses.duplicates;
    for found in [&now, &before] {
        wrong.extend(found.wrongs.iter().cloned());
        let l = &found.losses;
        let sound = l.damaged_blocks == 0
            && l.damages == 0
            && l.contradictions == 0
            && l.contradicting_facts == 0
            && l.unreadable.is_empty()
            && l.unreadable_facts == 0
            && l.refused.is_empty()
            && (l.torn_tails == 0 || tally.failures + tally.full + tally.closed != 0);
        if !sound {
            wrong.push(format!("the journal is damaged: {l:?}"));
        }
    }
    let read: HashSet<u64> = now.events.keys().chain(before.events.keys()).copied().collect();
    sums.read = read.len() as u64;
    let lost = some(record.stored.difference(&read).copied());
    if !record.stored.is_subset(&read) {
        wrong.push(format!("stored, and not read: {lost}"));
    }
    // What was written, and could not be cut off or was given up, may be read though it counts as rejected.
    let exact = tally.failed_cuts + tally.failed_syncs + tally.closed == 0;
    if exact && !read.is_subset(&record.stored) {
        let more = some(read.difference(&record.stored).copied());
        wrong.push(format!("read, and not stored: {more}"));
    }
    if let Some(metrics) = &metrics
        && shape.pool.end == End::Quiet
    {
        check_ledger(metrics, &sources, &record, &mut wrong);
        check_journal(shape, metrics, &now, &before, &tally, &mut wrong);
    }
    sums.figures = figures::judge(&files, &deleted, &tally, metrics.as_ref(), &mut wrong);
    sums.deleted_segments = before.segments;
    sums.deleted_events = before.counted;
    for (n, left) in record.left.iter().enumerate() {
        sums.power_losses += 1;
        sums.durable += left.durable.len() as u64;
        let after = reading::read(&left.files, order, &sources).map_err(one)?;
        let deleted = reading::read(&left.deleted, order, &sources).map_err(one)?;
        wrong.extend(after.wrongs.iter().map(|what| format!("after power loss {n}: {what}")));
        let is_there =
            |number: &u64| after.events.contains_key(number) || deleted.events.contains_key(number);
        let gone: Vec<u64> = left.durable.iter().filter(|number| !is_there(number)).copied().collect();
        if !gone.is_empty() {
            let gone = some(gone.into_iter());
            wrong.push(format!("after power loss {n}, not read: {gone}: {:?}", after.losses));
        }
        if after.losses.contradictions != 0 {
            wrong.push(format!("after power loss {n}: {:?}", after.losses));
        }
    }
    if wrong.is_empty() { Ok(sums) } else { Err(wrong) }
}

/// The ledger says the same as the journal's answers.
fn check_ledger(
    metrics: &Metrics,
    sources: &HashMap<u32, &Source>,
    record: &Record,
    wrong: &mut Vec<String>,
) {
    let ledger = &metrics.ledger;
    let mut captured = HashSet::new();
    for source in sources.values() {
        let numbers = source.records.iter().enumerate().filter(|(_, r)| r.status == PIPELINE_OK);
        captured.extend(numbers.map(|(n, _)| u64::from(source.id) << 32 | n as u64));
    }
    let dead = record.dead.len() as u64;
    let unstored = captured.difference(&record.stored).filter(|number| !record.dead.contains(number));
    let unstored: Vec<u64> = unstored.copied().collect();
    let all = [
        ("captured", ledger.captured == captured.len() as u64),
        ("dead_lettered and discarded", ledger.dead_lettered + ledger.discarded == dead),
        ("stored", ledger.stored + dead + ledger.overwritten == ledger.captured),
        ("overwritten", unstored.len() as u64 == ledger.overwritten),
        ("the balance", ledger.balances()),
    ];
    for (what, holds) in all {
        if !holds {
            let some = some(unstored.iter().copied());
            wrong.push(format!(
                "{what}: {ledger:?}, {} captured, {dead} dead, neither: {some}",
                captured.len()
            ));
        }
    }
}

/// The journal itself says what was deleted, and what the ledger was.
fn check_journal(
    shape: &JournalShape,
    metrics: &Metrics,
    now: &reading::Found,
    before: &reading::Found,
    tally: &Tally,
    wrong: &mut Vec<String>,
) {
    // A segment that could not be begun is deleted at once, with its header alone.
    let least = (before.segments - before.bare, before.bytes - 192 * before.bare);
    let told = &now.deleted;
    let exact = told.events == before.counted
        && (least.0..=before.segments).contains(&told.segments)
        && (least.1..=before.bytes).contains(&told.bytes);
    if tally.failed_reads == 0 && !exact {
        let (segments, counted, bytes) = (before.segments, before.counted, before.bytes);
        wrong.push(format!(
            "deleted were {segments} segments with {counted} events of {bytes} bytes, the journal says {told:?}"
        ));
    }
    let Some(block) = &now.ledger else {
        if shape.attached {
            wrong.push("the journal has no ledger".to_owned());
        }
        return;
    };
    let ledger = &metrics.ledger;
    let counts = [
        ("captured", ledger.captured),
        ("stored", ledger.stored),
        ("dead_lettered", ledger.dead_lettered),
        ("discarded", ledger.discarded),
        ("dropped_full", ledger.dropped_full),
        ("overwritten", ledger.overwritten),
    ];
    for (name, count) in counts {
        if block.count(name).is_none_or(|told| told > count) {
            wrong.push(format!("{name}: the journal says {:?}, the ledger {count}", block.count(name)));
        }
    }
}
