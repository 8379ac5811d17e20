//! The figures of the page. The first ones are those of the segments' headers and seals; the others grow while the events are read.

use super::latencies::Latencies;
use super::rates::Rates;
use crate::args::{Order, Selection};
use crate::commands::ls::runs;
use crate::commands::stat::losses;
use crate::damage;
use crate::failure::Failure;
use crate::journal::{Found, Journal, Reading, span};
use crate::messages::tell;
use crate::progress::Progress;
use crate::source::{Source, is_database};
use crate::timeline::Timeline;
use capture_pipeline::journal::reader::LEDGER_COUNTS;
use capture_pipeline::wall_time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most kinds that are listed, those with the most events.
const MOST_KINDS: usize = 512;
/// The most runs that are listed, the latest, and the most lines about losses.
const MOST_RUNS: usize = 100;
const MOST_LINES: usize = 200;
/// The figures are shown again so often.
const EVERY: Duration = Duration::from_millis(200);
/// How often a journal whose writers live is looked at, and one that nobody writes to at present.
const LOOK: Duration = Duration::from_millis(300);
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(1);
/// JavaScript keeps integers up to here.
const EXACT: u64 = 1 << 53;

/// Opens the journal for its figures.
pub fn open(path: &Path) -> Result<Journal, Failure> {
    let reading = if is_database(path) { Reading::Once } else { Reading::Following };
    Journal::open(path, &Selection::default(), Order::Time, reading)
}

/// The figures as they are now, in JSON.
pub struct Figures {
    shown: Mutex<Arc<String>>,
}

/// The events of a kind.
#[derive(Clone, Default)]
struct Count {
    events: u64,
    bytes: u64,
    weight: f64,
}

/// What was read so far.
struct Read {
    events: u64,
    span: (u64, u64),
    rates: Rates,
    counts: Vec<Count>,
    latencies: Latencies,
    problem: Option<String>,
    is_done: bool,
}

/// A number that JavaScript reads as it is: as a text, if it would be rounded.
fn number(number: u64) -> Value {
    if number > EXACT { number.to_string().into() } else { number.into() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn time(ns: u64) -> String {
    text(&wall_time::write(ns))
}

impl Figures {
    /// The first figures of a journal.
    pub fn new(journal: &Journal) -> Self {
        Self { shown: Mutex::new(Arc::new(Read::new(journal).to_json(journal).to_string())) }
    }

    /// The figures that were shown last.
    pub fn shown(&self) -> Arc<String> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, value: &Value) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value.to_string());
    }

    /// Reads a journal and what is written to it later, and shows its figures meanwhile, for ever. `open`: opens it anew. A database is read once.
    pub fn read(&self, mut journal: Journal, open: impl Fn() -> Result<Journal, Failure>) {
        loop {
            if let Err(failure) = self.follow(&mut journal) {
                if let Failure::Told(why) = failure {
                    tell(&why);
                }
                return;
            }
            // Another run has begun: its events may come before others.
            journal = loop {
                match open() {
                    Ok(journal) => break journal,
                    // (It may be deleted at present.)
                    Err(Failure::Told(why)) => tell(why),
                    Err(Failure::BrokenPipe) => {}
                }
                std::thread::sleep(LOOK_FOR_OTHERS);
            };
        }
    }

    /// Reads a journal until no writer is left and another one has come. An error: it cannot be read any more.
    fn follow(&self, journal: &mut Journal) -> Result<(), Failure> {
        let mut read = Read::new(journal);
        let mut timeline = Timeline::new(journal);
        let done = self.read_all(journal, &mut read, &mut timeline);
        if done.is_err() {
            return self.end(journal, &mut read, &mut timeline, done);
        }
        // (What the last look has found is read: a writer that has ended since writes no more.)
        while journal.reader().is_growing() {
            read.is_done = true;
            self.show(&read.to_json(journal));
            std::thread::sleep(LOOK);
            let looked = journal.look_for_more();
            timeline.learn(journal);
            let done = looked.and_then(|()| self.read_all(journal, &mut read, &mut timeline));
            if done.is_err() {
                return self.end(journal, &mut read, &mut timeline, done);
            }
        }
        self.end(journal, &mut read, &mut timeline, Ok(()))?;
        let mut has_more = false;
        while !has_more {
            std::thread::sleep(LOOK_FOR_OTHERS);
            journal.look_for_more()?;
            journal.each(&mut Progress::none(), |_| {
                has_more = true;
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(())
    }

    /// Reads the events that are there.
    fn read_all(
        &self,
        journal: &mut Journal,
        read: &mut Read,
        timeline: &mut Timeline,
    ) -> Result<(), Failure> {
        loop {
            let end = Instant::now() + EVERY;
            let mut is_last = true;
            journal.each(&mut Progress::none(), |found| {
                read.add(&found);
                timeline.add(&found, &mut read.latencies)?;
                if read.events.is_multiple_of(1024) && Instant::now() > end {
                    is_last = false;
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if is_last {
                return Ok(());
            }
            self.show(&read.to_json(journal));
        }
    }

    /// No more events come: what is open then has no end.
    fn end(
        &self,
        journal: &Journal,
        read: &mut Read,
        timeline: &mut Timeline,
        done: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let done = done.and_then(|()| timeline.finish(&mut read.latencies));
        if let Err(Failure::Told(why)) = &done {
            read.problem = Some(why.clone());
        }
        read.is_done = true;
        self.show(&read.to_json(journal));
        done
    }
}

impl Read {
    fn new(journal: &Journal) -> Self {
        Self {
            events: 0,
            span: span(journal.reader().segments()),
            rates: Rates::new(span(journal.reader().segments())),
            counts: Vec::new(),
            latencies: Latencies::default(),
            problem: None,
            is_done: false,
        }
    }

    fn add(&mut self, found: &Found<'_>) {
        self.events += 1;
        if self.counts.len() <= found.kind_at {
            self.counts.resize(found.kind_at + 1, Count::default());
        }
        let count = &mut self.counts[found.kind_at];
        count.events += 1;
        count.bytes += found.event.payload.len() as u64;
        count.weight += found.event.weight;
        let ns = found.event.realtime_ns;
        self.span = (self.span.0.min(ns), self.span.1.max(ns));
        self.rates.add(ns);
    }

    fn to_json(&self, journal: &Journal) -> Value {
        let reader = journal.reader();
        let progress = reader.progress();
        let (first, last) = self.span;
        let (runs, count) = runs_of(reader);
        let sealed: u64 = reader.segments().map(|segment| segment.events).sum();
        json!({
            "done": self.is_done,
            // More may come.
            "growing": reader.is_growing(),
            "problem": self.problem,
            "read_bytes": number(progress.done_bytes),
            "all_bytes": number(progress.total_bytes),
            "events": number(sealed.max(self.events)),
            "read_events": number(self.events),
            "first": (first <= last).then(|| time(first)),
            "last": (first <= last).then(|| time(last)),
            "first_ns": first.to_string(),
            "last_ns": last.to_string(),
            "runs": runs,
            "runs_count": count,
            "bytes": number(reader.segments().map(|segment| segment.size).sum()),
            "kinds": self.kinds(journal),
            "rates": self.rates.of(last).iter().map(|count| number(*count)).collect::<Vec<_>>(),
            "rates_ns": self.rates.length(last).to_string(),
            "latencies": self.latencies(),
            "without_end": number(self.latencies.without_end),
            "losses": bounded(losses::lost(reader)),
            "chosen": bounded(losses::chosen(reader)),
            "rings": rings(reader),
            "damage": damage::summary(reader.losses()),
        })
    }

    fn kinds(&self, journal: &Journal) -> Value {
        let rows = journal.kinds().iter().zip(&self.counts).filter(|(_, count)| count.events > 0);
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|(kind, count)| (std::cmp::Reverse(count.events), kind.number));
        let row = |(kind, count): (&crate::kinds::Kind, &Count)| {
            let fields = kind.definition.iter().flat_map(|definition| &definition.fields);
            json!({
                "name": if kind.is_rest { "(others)".into() } else { kind.label() },
                "number": kind.number,
                "events": number(count.events),
                "bytes": number(count.bytes),
                "weight": count.weight,
                "fields": fields.map(|field| field.name.as_str()).collect::<Vec<_>>(),
            })
        };
        rows.into_iter().take(MOST_KINDS).map(row).collect()
    }

    fn latencies(&self) -> Value {
        let rows = self.latencies.list.iter().filter(|(_, durations)| durations.count > 0);
        rows.map(|(kind, durations)| {
            let part = |part: f64| number(durations.percentile(part));
            json!({
                "kind": kind,
                "count": number(durations.count),
                "p50": part(0.5), "p90": part(0.9), "p99": part(0.99), "p999": part(0.999),
                "longest": number(durations.longest),
            })
        })
        .collect()
    }
}

/// The first lines of many.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    if more > 0 {
        lines.push(format!("and {more} more: 'capture-pipeline stat' has all"));
    }
    lines
}

/// The last runs, and how many there are in all.
fn runs_of(reader: &Source) -> (Value, usize) {
    let facts = reader.facts();
    let row = |run: crate::commands::ls::Run| {
        let ledger = facts.ledgers.get(&run.generation).map(|ledger| {
            let counts =
                LEDGER_COUNTS.iter().filter_map(|name| Some((*name, ledger.count(name).filter(|n| *n > 0)?)));
            let counts: Vec<_> = counts.map(|(name, count)| json!([name, number(count)])).collect();
            json!({ "offered": number(ledger.offered()), "counts": counts })
        });
        let attributes: BTreeMap<_, _> =
            facts.attributes_of(run.generation).map(|(name, value)| (text(name), text(value))).collect();
        json!({
            "run": format!("{:016x}", run.generation),
            "program": text(&run.program),
            "pid": run.pid,
            "state": run.state(),
            "started": time(run.started_ns),
            "segments": number(run.segments),
            "blocks": number(run.blocks),
            "events": number(run.events),
            "bytes": number(run.size),
            "attributes": attributes,
            "ledger": ledger,
        })
    };
    let all = runs(reader.segments());
    let count = all.len();
    (all.into_iter().skip(count.saturating_sub(MOST_RUNS)).map(row).collect(), count)
}

/// The rings with the most events missing.
fn rings(reader: &Source) -> Value {
    let facts = reader.facts();
    losses::rings_with_gaps(reader)
        .into_iter()
        .take(losses::LISTED)
        .map(|ring| {
            let thread = facts.threads.get(&(ring.generation, ring.ring_id));
            json!({
                "run": format!("{:016x}", ring.generation),
                "ring": number(ring.ring_id),
                "thread": thread.map(|thread| format!("{}/{}", text(&thread.name), thread.thread_id)),
                "stored": number(ring.events),
                "missing": number(ring.missing()),
            })
        })
        .collect()
}
