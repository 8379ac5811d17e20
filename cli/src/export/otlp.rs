//! OTLP, the format of OpenTelemetry: pairs of begins and ends as spans, other events as log records, counters and the run's own counts as metrics.
//!
//! The messages are those of the crate `opentelemetry-proto`; what of the journal becomes what in them is decided here.

mod metrics;
mod output;
mod records;
mod spans;
mod values;

use super::Exporter;
use crate::damage::some;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::messages::tell;
use crate::timeline::gaps::Gaps;
use crate::timeline::pairs::Pairs;
use crate::timeline::places::Places;
use crate::timeline::plan::Plan;
use crate::timeline::slices::key_of;
use crate::timeline::{LAST_TIME, Why};
use capture_pipeline::kinds::Role;
use metrics::Numbers;
pub use output::{Encoding, Output};
use records::Records;
use spans::{Begun, Ids};
use std::collections::BTreeMap;
use values::Resources;

/// The most begins that are open at a time.
const MOST_OPEN: usize = 100_000;
/// So many items of all runs are gathered before they are written.
const MOST_ITEMS: usize = 4_096;

/// See the module.
pub struct Otlp {
    output: Output,
    payload: Option<bool>,
    ids: Ids,
    resources: Resources,
    places: Places,
    plans: Vec<Plan>,
    gaps: Gaps,
    pairs: Pairs<Begun>,
    records: Records,
    numbers: Numbers,
    /// The time of the last event of each run, by its own clock, and what the wall clock showed then.
    ends: BTreeMap<u64, (u64, u64)>,
    /// Events that are left out, because their times are beyond [`LAST_TIME`].
    too_late: u64,
}

impl Otlp {
    /// Writes there. `trace_prefix`: the first half of trace ids, instead of the run.
    pub fn new(output: Output, journal: &Journal, payload: Option<bool>, trace_prefix: Option<u64>) -> Self {
        Self {
            output,
            payload,
            ids: Ids { trace_prefix },
            resources: Resources::new(journal),
            gaps: Gaps::new(journal),
            places: Places::new(journal),
            plans: journal.kinds().iter().map(|kind| Plan::new(kind, journal.kinds())).collect(),
            pairs: Pairs::new(MOST_OPEN),
            records: Records::default(),
            numbers: Numbers::new(journal),
            ends: BTreeMap::new(),
            too_late: 0,
        }
    }

    /// Notes what is missing before an event: a span whose end may be missing ends here.
    fn check(&mut self, found: &Found<'_>, ring: usize) {
        let ns = found.event.timestamp_ns;
        let Some((_, count)) = self.gaps.before(&mut self.places.rings[ring], ns, found.event) else {
            return;
        };
        let thread = self.places.rings[ring].thread;
        let realtime_ns = found.event.realtime_ns;
        for open in self.pairs.cut(thread) {
            self.records.span(open.data.cut(ns, Why::Losses));
        }
        self.records.lost(found, realtime_ns, count);
    }

    fn begin(&mut self, found: &Found<'_>, thread: usize, is_keyed: bool) {
        for open in self.pairs.make_room() {
            self.records.span(open.data.cut(found.event.timestamp_ns, Why::TooMany));
        }
        let parent = self.parent(found, thread);
        let begun = Begun::new(found, &self.ids, parent, self.payload);
        let key = is_keyed.then(|| key_of(found));
        self.pairs.begin(thread, found.event.kind, key, begun);
    }

    /// The ids of the span that an event of a thread lies in: the last that began and is open, if it is of the same trace.
    fn parent(&mut self, found: &Found<'_>, thread: usize) -> Option<([u8; 16], [u8; 8])> {
        let own = self.ids.trace_of(found);
        let open = self.pairs.last(thread, 1).last()?;
        let (trace, span) = open.data.ids();
        own.is_none_or(|own| own == trace).then_some((trace, span))
    }

    /// An end: the span is whole. Without its begin, it is a log record.
    fn end(&mut self, found: &Found<'_>, thread: usize, begins: u32, is_keyed: bool) {
        let key = is_keyed.then(|| key_of(found));
        match self.pairs.end(thread, begins, key) {
            Some(ended) => self.records.span(ended.open.data.end(found, self.payload)),
            None => self.record(found, thread, true),
        }
    }

    fn record(&mut self, found: &Found<'_>, thread: usize, is_unpaired: bool) {
        let parent = self.parent(found, thread);
        self.records.log(found, &self.ids, parent, self.payload, is_unpaired);
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.records.write(&self.resources, &mut self.output)?;
        self.numbers.write(&self.resources, &mut self.output)
    }
}

impl Exporter for Otlp {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let ring = self.places.find(&found);
        let (event, thread) = (found.event, self.places.rings[ring].thread);
        if event.realtime_ns > LAST_TIME || event.timestamp_ns > LAST_TIME {
            self.too_late += 1;
            return Ok(());
        }
        self.check(&found, ring);
        let end = self.ends.entry(event.generation).or_default();
        *end = (*end).max((event.timestamp_ns, event.realtime_ns));
        // (Kinds that are not in the list have no definition.)
        let plan = self.plans.get(found.kind_at).filter(|_| !found.kind.is_rest);
        let (role, begins, is_keyed) =
            plan.map_or((Role::Instant, 0, false), |plan| (plan.role, plan.begins, plan.is_keyed));
        match role {
            Role::Begin => self.begin(&found, thread, is_keyed),
            Role::End => self.end(&found, thread, begins, is_keyed),
            Role::Complete => {
                let parent = self.parent(&found, thread);
                self.records.span(Begun::new(&found, &self.ids, parent, self.payload).complete(&found));
            }
            Role::Counter if self.numbers.add(&found) => {}
            _ => self.record(&found, thread, false),
        }
        if self.records.len() + self.numbers.len() >= MOST_ITEMS { self.write() } else { Ok(()) }
    }

    fn skip(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let ring = self.places.find(&found);
        self.check(&found, ring);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        for thread in 0..self.places.threads.len() {
            for open in self.pairs.cut(thread) {
                let end = self.ends.get(&open.data.generation()).map_or(0, |end| end.0);
                self.records.span(open.data.cut(end, Why::End));
            }
        }
        for (generation, (_, realtime_ns)) in &self.ends {
            self.numbers.ledger(*generation, *realtime_ns);
        }
        self.write()?;
        self.output.finish()?;
        if let Some(left_out) = some(self.too_late, "event is", "events are") {
            tell(format_args!("{left_out} left out: their times are 2^63 ns or more"));
        }
        Ok(())
    }
}
