//! A journal, or a database of the SQLite storage, with what is asked of it: which events, in which order.

use crate::args::{Order, Selection};
use crate::damage;
use crate::failure::{Failure, Outcome};
use crate::kinds::{Asked, Choice, Kind, Kinds};
use crate::messages::tell;
use crate::progress::Progress;
use crate::source::{Source, is_database};
use crate::time_bounds::Bound;
use capture_pipeline::expression::{Expression, Own, Subject};
use capture_pipeline::journal::reader::{self, Event, Facts, Options, Segment, Thread};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The memory of the reader, so that with that of an export it is less than 256 MB. An eighth is for a compressed event: 16 MiB with their record's header.
const READER_MEMORY: usize = 136 << 20;
/// The progress is shown after so many events.
const SHOW_EVERY: u64 = 1 << 14;

/// An event that was asked for, with what is known about it.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// Its kind.
    pub kind: &'a Kind,
    /// The place of the kind in the journal's list.
    pub kind_at: usize,
    /// The thread that captured it, if that is known.
    pub thread: Option<&'a Thread>,
}

impl Subject for Found<'_> {
    fn payload(&self) -> &[u8] {
        self.event.payload
    }

    fn number(&self, own: Own) -> Option<u64> {
        let event = self.event;
        Some(match own {
            Own::WallTime => event.realtime_ns,
            Own::Time => event.timestamp_ns,
            Own::Generation => event.generation,
            Own::RingId => event.ring_id,
            Own::Sequence => event.sequence,
            Own::CorrelationId => event.correlation_id,
            Own::NodeId => event.node_id,
            Own::Flags => event.flags.into(),
            Own::PayloadBytes => event.payload.len() as u64,
            Own::ThreadId => self.thread?.thread_id,
            _ => return None,
        })
    }

    fn weight(&self) -> f64 {
        self.event.weight
    }

    fn thread_name(&self) -> Option<&[u8]> {
        self.thread.map(|thread| thread.name.as_slice())
    }
}

/// The threads of rings; those that were looked up last are found at once.
struct Threads {
    /// In the order of their keys.
    known: Vec<((u64, u64), Thread)>,
    /// Places in the list, by the low bits of the ring.
    recent: [usize; 64],
}

impl Threads {
    fn new(facts: &Facts) -> Self {
        let known = facts.threads.iter().map(|(key, thread)| (*key, thread.clone())).collect();
        Self { known, recent: [usize::MAX; 64] }
    }

    #[inline]
    fn find(&mut self, generation: u64, ring_id: u64) -> Option<&Thread> {
        let key = (generation, ring_id);
        let recent = &mut self.recent[ring_id as usize % 64];
        if self.known.get(*recent).is_none_or(|(known, _)| *known != key) {
            *recent = self.known.binary_search_by_key(&key, |(known, _)| *known).ok()?;
        }
        self.known.get(*recent).map(|(_, thread)| thread)
    }
}

/// How a journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The events that are there and were asked for.
    Once,
    /// These, and those that are written later.
    Following,
    /// All events that are there in the times that were asked for: [`Journal::each_with`] tells which of them were.
    All,
}

/// See the module.
pub struct Journal {
    path: PathBuf,
    reader: Source,
    kinds: Kinds,
    threads: Threads,
    /// The correlation id that was asked for, if the reader does not choose by it.
    correlation_id: Option<u64>,
}

/// Opens a reader. If there is nothing to read, the message says whether the journal is missing or only the run.
fn open(path: &Path, options: Options) -> Result<Source, Failure> {
    let run = options.generation;
    let reader = Source::open(path, options)?;
    if reader.segments().len() != 0 || !reader.losses().is_empty() {
        return Ok(reader);
    }
    let shown = path.display();
    if let Some(run) = run
        && Source::open(path, Options::default())?.segments().len() != 0
    {
        return Err(Failure::new(format!(
            "{shown}: it has no run {run:016x}; 'capture-pipeline ls' shows its runs"
        )));
    }
    if is_database(path) {
        return Err(Failure::new(format!("{shown}: the database has no run: nothing was stored in it")));
    }
    Err(Failure::new(format!(
        "{shown}: no journal: it has no file GENERATION-NUMBER.journal; 'capture-pipeline ls' finds journals"
    )))
}

/// The wall times that are asked for, of what lies at a path as it is now.
pub fn times_asked(path: &Path, selection: &Selection) -> Result<(u64, u64), Failure> {
    let bound =
        |name, text: &Option<String>| text.as_deref().map(|text| Bound::parse(name, text)).transpose();
    let (from, until) = (bound("from", &selection.from)?, bound("until", &selection.until)?);
    let is_relative = [from, until].iter().flatten().any(|bound| bound.is_relative());
    let (first, last) =
        if is_relative { span(Source::open(path, Options::default())?.segments()) } else { (0, 0) };
    let at = |bound: Option<Bound>, otherwise| bound.map_or(otherwise, |bound| bound.at(first, last));
    Ok((at(from, 0), at(until, u64::MAX)))
}

/// The wall times of the first and the last event.
pub fn span<'s>(segments: impl Iterator<Item = &'s Segment>) -> (u64, u64) {
    segments.filter(|segment| segment.events > 0).fold((u64::MAX, 0), |(first, last), segment| {
        (first.min(segment.realtimes_ns.0), last.max(segment.realtimes_ns.1))
    })
}

impl Journal {
    /// Opens a journal for the events that are asked for.
    pub fn open(path: &Path, selection: &Selection, order: Order, reading: Reading) -> Result<Self, Failure> {
        let follow = reading == Reading::Following;
        let filter = match &selection.filter {
            None => None,
            Some(text) => Some(
                Expression::parse(text)
                    .map_err(|problem| Failure::new(format!("--where '{text}': {problem}")))?,
            ),
        };
        let bound = |option, text: &Option<String>| {
            text.as_deref().map(|text| Bound::parse(option, text)).transpose()
        };
        let (from, until) = (bound("--from", &selection.from)?, bound("--until", &selection.until)?);
        let mut options = Options {
            order: if order == Order::Time { reader::Order::Time } else { reader::Order::Stored },
            follow,
            correlation_id: selection.correlation_id,
            generation: selection.run,
            memory_bytes: READER_MEMORY,
            ..Options::default()
        };
        let numbers: Option<Vec<u32>> = selection.kinds.iter().map(|kind| kind.parse().ok()).collect();
        let relative = [from, until].iter().flatten().any(|bound| bound.is_relative());
        let mut limits = (0, u64::MAX);
        if relative || numbers.is_none() || filter.is_some() {
            // What the journal has is known before the events are chosen.
            let reader = open(path, options.clone())?;
            limits = span(reader.segments());
            let kinds = Kinds::new(reader.facts(), Asked::default());
            if let Some(filter) = &filter
                && !follow
            {
                kinds.check(filter)?;
            }
            options.kinds = kinds_of(&selection.kinds, &kinds, follow)?;
        } else if !selection.kinds.is_empty() {
            options.kinds = numbers;
        }
        let at = |bound: Option<Bound>, otherwise| {
            bound.map_or(otherwise, |bound: Bound| bound.at(limits.0, limits.1))
        };
        (options.from_realtime_ns, options.to_realtime_ns) = (at(from, 0), at(until, u64::MAX));
        if reading == Reading::All {
            (options.kinds, options.correlation_id) = (None, None);
        }
        let reader = open(path, options)?;
        let kinds = Kinds::new(reader.facts(), Asked { kinds: selection.kinds.clone(), filter });
        let threads = Threads::new(reader.facts());
        let correlation_id = selection.correlation_id.filter(|_| reading == Reading::All);
        Ok(Self { path: path.to_path_buf(), reader, kinds, threads, correlation_id })
    }

    /// What it is read from.
    pub fn reader(&self) -> &Source {
        &self.reader
    }

    /// The kinds that are known so far, by their places.
    pub fn kinds(&self) -> &[Kind] {
        self.kinds.list()
    }

    /// Calls `act` for each event that was asked for, until it breaks: for those that were there when the journal was opened.
    pub fn each(
        &mut self,
        progress: &mut Progress,
        mut act: impl FnMut(Found<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        self.each_with(
            progress,
            |found: Found<'_>, is_chosen| if is_chosen { act(found) } else { Ok(ControlFlow::Continue(())) },
        )
    }

    /// The same for all events that are read, with whether they were asked for.
    pub fn each_with(
        &mut self,
        progress: &mut Progress,
        mut act: impl FnMut(Found<'_>, bool) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let correlation_id = self.correlation_id;
        let mut count = 0_u64;
        loop {
            count += 1;
            if count.is_multiple_of(SHOW_EVERY) {
                progress.show(self.reader.progress());
            }
            let Some(event) = self.reader.next_found()? else { return Ok(()) };
            let is_of_id = correlation_id.is_none_or(|id| event.correlation_id == id);
            let mut act = |found: Found<'_>, is_chosen| act(found, is_chosen && is_of_id);
            if show(&event, &mut self.kinds, &mut self.threads, &mut act)?.is_break() {
                return Ok(());
            }
        }
    }

    /// The same for one event that the reader follows, for which it waits up to `timeout`. Answers whether there was one.
    pub fn follow(
        &mut self,
        timeout: std::time::Duration,
        mut act: impl FnMut(Found<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<ControlFlow<(), bool>, Failure> {
        let Some(event) = self.reader.next_within(timeout)? else { return Ok(ControlFlow::Continue(false)) };
        // What is known about its kind may have come with it.
        let payload = event.payload.to_vec();
        let event = Event { payload: &payload, ..event };
        self.learn();
        let act = &mut |found: Found<'_>, is_chosen| {
            if is_chosen { act(found) } else { Ok(ControlFlow::Continue(())) }
        };
        Ok(match show(&event, &mut self.kinds, &mut self.threads, act)? {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => ControlFlow::Continue(true),
        })
    }

    /// Looks for what was written meanwhile, which [`each`](Self::each) then shows, if the journal is followed.
    pub fn look_for_more(&mut self) -> Result<(), Failure> {
        self.reader.look_for_more()?;
        self.learn();
        Ok(())
    }

    /// Takes what has become known about kinds and threads.
    fn learn(&mut self) {
        self.kinds.refresh(self.reader.facts());
        if self.threads.known.len() != self.reader.facts().threads.len() {
            self.threads = Threads::new(self.reader.facts());
        }
    }

    /// What follows may have any wall time, also one before the start that was asked for.
    pub fn lift_from(&mut self) {
        self.reader.set_from_realtime_ns(0);
    }

    /// Says on the standard error what was lost, if anything was.
    pub fn outcome(&self) -> Outcome {
        let losses = self.reader.losses();
        let summary = damage::summary(losses);
        if summary.is_empty() {
            return Outcome::Well;
        }
        let path = self.path.display();
        tell(format_args!(
            "{path}: {}; 'capture-pipeline verify {path}' has the details",
            summary.join(", ")
        ));
        Outcome::Damaged
    }
}

#[inline]
fn show(
    event: &Event<'_>,
    kinds: &mut Kinds,
    threads: &mut Threads,
    act: &mut impl FnMut(Found<'_>, bool) -> Result<ControlFlow<()>, Failure>,
) -> Result<ControlFlow<()>, Failure> {
    let kind_at = kinds.find(event.generation, event.kind);
    let kind = &kinds.list()[kind_at];
    let found = Found { event, kind, kind_at, thread: threads.find(event.generation, event.ring_id) };
    let chosen = match &kind.choice {
        Choice::All(all) => *all,
        Choice::Some(bound) => bound.matches(&found),
    };
    act(found, chosen)
}

/// The numbers of the kinds with these names or numbers. `None`: all.
fn kinds_of(wanted: &[String], kinds: &Kinds, follow: bool) -> Result<Option<Vec<u32>>, Failure> {
    let mut numbers = Vec::new();
    for wanted in wanted {
        let before = numbers.len();
        numbers.extend(kinds.list().iter().filter(|kind| kind.is_named(wanted)).map(|kind| kind.number));
        numbers.extend(wanted.parse::<u32>());
        if numbers.len() == before {
            // It may get its name later.
            if follow {
                return Ok(None);
            }
            let mut known: Vec<String> = kinds.list().iter().map(Kind::label).collect();
            known.sort();
            known.dedup();
            let known = if known.is_empty() {
                "no kind has a name".into()
            } else {
                format!("there are {}", known.join(" "))
            };
            return Err(Failure::new(format!(
                "--kind: the journal has no kind {wanted}; {known}; any number may be given"
            )));
        }
    }
    Ok((!wanted.is_empty()).then_some(numbers))
}
