//! Events on a line of time, for whoever draws them: rows of slices, instants and numbers.
//!
//! [`Timeline`] takes the events in the order of their times, and tells a [`Drawing`] what is to be drawn. [`pairs`] finds which begin an end belongs to, [`nest`](capture_pipeline::formats::nest)
//! which slices lie within each other, [`rows`] where they are drawn, [`places`] in which process and thread they happened, [`gaps`] where events are missing.

pub mod gaps;
pub mod kept;
pub mod long;
pub mod pairs;
pub mod places;
pub mod plan;
pub mod rows;
pub mod slices;

use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::kinds::Kind;
use capture_pipeline::event::PIPELINE_EVENT_OWN_TIME;
use capture_pipeline::kinds::{Role, Value};
use gaps::Gaps;
use places::{Places, number_of};
use plan::Plan;
use rows::Rows;
use slices::Slices;

/// The latest time that is drawn, in nanoseconds: viewers count in signed numbers.
pub const LAST_TIME: u64 = i64::MAX as u64;

/// The clocks are told again when their difference has changed by more than this, in nanoseconds.
const CLOCKS_DIFFER: u64 = 1_000_000;
/// They are told at most so often: what two processes say of their clocks may differ.
const CLOCKS_EVERY: u64 = 1_000_000_000;

/// Why a slice ends without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are no more events of its run.
    End,
    /// Events of its thread were lost, and its end may be one of them.
    Losses,
    /// The file ends here, and it goes on in the next one.
    Split,
    /// The end of one came that it lies within. It goes on behind that.
    Crossed,
    /// Too many were open.
    TooMany,
}

impl Why {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Losses => "losses",
            Self::Split => "split",
            Self::Crossed => "crossed",
            Self::TooMany => "too_many",
        }
    }
}

/// What a slice or an instant is, beside its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing else.
    None,
    /// The slice goes on: it was closed before.
    Continued,
    /// An end without a begin.
    Unpaired,
}

/// Draws a timeline. The times of a row need not rise: a slice that is known when it ends begins before what was drawn last.
pub trait Drawing {
    /// What CLOCK_REALTIME showed at a time. It comes before the first event, and where the difference of the two has changed.
    fn clocks(&mut self, ns: u64, realtime_ns: u64);
    /// A slice begins, by this event.
    fn begin(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        note: Note,
    ) -> Result<(), Failure>;
    /// The slice ends that began last in its row: by its end, by nothing (it was known), or for want of its end.
    fn end(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        by: Result<Option<&Found<'_>>, Why>,
    ) -> Result<(), Failure>;
    /// Something without a duration. `flow`: what it is a step of; 0: of nothing.
    fn instant(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        flow: u64,
        note: Note,
    ) -> Result<(), Failure>;
    /// A number.
    fn number(&mut self, rows: &Rows, row: usize, ns: u64, value: Value<'_>) -> Result<(), Failure>;
    /// Events were lost between these two times: so many of each sort.
    fn lost(
        &mut self,
        rows: &Rows,
        row: usize,
        times: (u64, u64),
        counts: &[(&str, u64)],
    ) -> Result<(), Failure>;
}

/// See the module.
pub struct Timeline {
    rows: Rows,
    plans: Vec<Option<Plan>>,
    slices: Slices,
    gaps: Gaps,
    /// A time, and what CLOCK_REALTIME showed then.
    clocks: Option<(u64, u64)>,
    /// Events that are not drawn, because their times are beyond [`LAST_TIME`].
    pub too_late: u64,
}

impl Timeline {
    /// The timeline of a journal, without events.
    pub fn new(journal: &Journal) -> Self {
        let mut timeline = Self {
            rows: Rows::new(Places::new(journal)),
            plans: Vec::new(),
            slices: Slices::default(),
            gaps: Gaps::new(journal),
            clocks: None,
            too_late: 0,
        };
        timeline.learn(journal);
        timeline
    }

    /// Takes what has become known about the kinds of a journal that is followed.
    pub fn learn(&mut self, journal: &Journal) {
        for (at, kind) in journal.kinds().iter().enumerate() {
            self.plan(at, kind, journal.kinds());
        }
    }

    #[cold]
    fn plan(&mut self, at: usize, kind: &Kind, others: &[Kind]) {
        if self.plans.len() <= at {
            self.plans.resize_with(at + 1, || None);
        }
        self.plans[at] = Some(Plan::new(kind, others));
    }

    /// The time of an event.
    pub fn time(&mut self, found: &Found<'_>) -> u64 {
        let ring = self.rows.places.find(found);
        self.rows.places.time(ring, found.event.timestamp_ns)
    }

    /// Tells what the clocks show, if that has changed.
    #[inline]
    fn relate(&mut self, ns: u64, found: &Found<'_>, drawing: &mut impl Drawing) {
        let realtime_ns = found.event.realtime_ns;
        let has_changed = self.clocks.is_none_or(|(before, realtime)| {
            let moved =
                realtime_ns.wrapping_sub(realtime).wrapping_sub(ns.wrapping_sub(before)).cast_signed();
            moved.unsigned_abs() > CLOCKS_DIFFER
                && ns.saturating_sub(before) >= CLOCKS_EVERY
                && found.event.flags & PIPELINE_EVENT_OWN_TIME == 0
        });
        if has_changed && realtime_ns <= LAST_TIME {
            self.clocks = Some((ns, realtime_ns));
            drawing.clocks(ns, realtime_ns);
        }
    }

    /// Takes an event that is not drawn: it shows that none is missing, and may be the end of a slice that is.
    #[inline]
    pub fn skip(&mut self, found: &Found<'_>, drawing: &mut impl Drawing) -> Result<(), Failure> {
        let ring = self.rows.places.find(found);
        let ns = self.rows.places.time(ring, found.event.timestamp_ns);
        if ns > LAST_TIME {
            return Ok(());
        }
        self.check(ring, ns, found, drawing)?;
        let thread = self.rows.places.thread(ring, found);
        let Some(Some(plan)) = self.plans.get(found.kind_at) else { return Ok(()) };
        match plan.role {
            Role::Begin => {
                let is_keyed = plan.is_keyed;
                self.slices.begin_unseen(thread, ns, found, is_keyed, &mut self.rows, drawing)
            }
            Role::End => {
                let of = (plan.begins, plan.is_keyed, false);
                let kind_of = |at: usize| self.plans.get(at).and_then(Option::as_ref).map(|plan| &plan.kind);
                self.slices.end(thread, ns, found, of, kind_of, &mut self.rows, drawing)
            }
            _ => Ok(()),
        }
    }

    /// Draws what is missing before an event.
    #[inline]
    fn check(
        &mut self,
        ring: usize,
        ns: u64,
        found: &Found<'_>,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        match self.gaps.before(&mut self.rows.places.rings[ring], ns, found.event) {
            None => Ok(()),
            Some((from, count)) => self.lost(ring, (from, ns), count, drawing),
        }
    }

    #[cold]
    fn lost(
        &mut self,
        ring: usize,
        times: (u64, u64),
        count: u64,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        let thread = self.rows.places.rings[ring].thread;
        self.slices.cut(thread, times.1, Why::Losses, &mut self.rows, drawing)?;
        // Any ring may have had the end of a slice in a row that events have named.
        for track in self.rows.places.tracks(self.rows.places.rings[ring].generation) {
            self.slices.cut(track, times.1, Why::Losses, &mut self.rows, drawing)?;
        }
        let row = self.rows.of_losses(ring);
        drawing.lost(&self.rows, row, times, &[("events", count)])
    }

    /// Draws an event.
    #[inline]
    pub fn add(&mut self, found: &Found<'_>, drawing: &mut impl Drawing) -> Result<(), Failure> {
        let ring = self.rows.places.find(found);
        let ns = self.rows.places.time(ring, found.event.timestamp_ns);
        if ns > LAST_TIME {
            self.too_late += 1;
            return Ok(());
        }
        self.relate(ns, found, drawing);
        self.check(ring, ns, found, drawing)?;
        let thread = self.rows.places.thread(ring, found);
        if self.plans.get(found.kind_at).is_none_or(Option::is_none) || found.kind.is_rest {
            self.plan(found.kind_at, found.kind, &[]);
        }
        let Some(Some(plan)) = self.plans.get(found.kind_at) else { return Ok(()) };
        match plan.role {
            Role::Instant | Role::Log => {
                let row = self.rows.of_thread(thread);
                drawing.instant(&self.rows, row, ns, found, 0, Note::None)
            }
            Role::Flow => {
                let row = self.rows.of_thread(thread);
                drawing.instant(&self.rows, row, ns, found, flow(found), Note::None)
            }
            Role::Begin => {
                let is_keyed = plan.is_keyed;
                self.slices.begin(thread, ns, found, is_keyed, &mut self.rows, drawing)
            }
            Role::End => {
                let of = (plan.begins, plan.is_keyed, true);
                let kind_of = |at: usize| self.plans.get(at).and_then(Option::as_ref).map(|plan| &plan.kind);
                self.slices.end(thread, ns, found, of, kind_of, &mut self.rows, drawing)
            }
            Role::Complete => self.slices.complete(thread, ns, found, &mut self.rows, drawing),
            Role::Counter => numbers(&mut self.rows, thread, ns, found, drawing),
        }
    }

    /// Closes what is open, because the file ends at this time. [`resume`](Self::resume) begins it again.
    pub fn pause(&mut self, ns: u64, drawing: &mut impl Drawing) -> Result<(), Failure> {
        self.slices.pause(ns, &self.rows, drawing)
    }

    /// Begins again what is open.
    pub fn resume(&mut self, ns: u64, drawing: &mut impl Drawing) -> Result<(), Failure> {
        if let Some((before, realtime)) = self.clocks {
            drawing.clocks(ns, realtime.wrapping_add(ns.wrapping_sub(before)));
        }
        let kind_of = |at: usize| self.plans.get(at).and_then(Option::as_ref).map(|plan| &plan.kind);
        self.slices.resume(ns, kind_of, &self.rows, drawing)
    }

    /// Closes what is open at the end of its run, and draws what the runs have lost in all.
    pub fn finish(&mut self, drawing: &mut impl Drawing) -> Result<(), Failure> {
        let mut ends = std::collections::HashMap::new();
        for ring in &self.rows.places.rings {
            let end = ends.entry(ring.generation).or_insert((ring.thread, 0));
            end.1 = ring.ns.max(end.1);
        }
        let mut of_thread: Vec<_> =
            self.rows.places.rings.iter().map(|ring| (ring.thread, ends[&ring.generation].1)).collect();
        for (generation, (_, ns)) in &ends {
            of_thread.extend(self.rows.places.tracks(*generation).into_iter().map(|track| (track, *ns)));
        }
        for (thread, ns) in of_thread {
            self.slices.cut(thread, ns, Why::End, &mut self.rows, drawing)?;
        }
        for (generation, counts) in self.gaps.totals() {
            let Some((thread, ns)) = ends.get(generation) else { continue };
            let row = self.rows.of_totals(self.rows.places.threads[*thread].process);
            drawing.lost(&self.rows, row, (*ns, *ns), counts)?;
        }
        Ok(())
    }
}

/// Draws the numbers of a counter.
fn numbers(
    rows: &mut Rows,
    thread: usize,
    ns: u64,
    found: &Found<'_>,
    drawing: &mut impl Drawing,
) -> Result<(), Failure> {
    let Some(definition) = &found.kind.definition else { return Ok(()) };
    for (at, (field, value)) in definition.values(found.event.payload).enumerate() {
        let Some(value) = value.filter(|_| field.field_type.is_number() && definition.key_field != Some(at))
        else {
            continue;
        };
        let Some(row) = rows.of_counter(thread, found, at) else {
            let row = rows.of_thread(thread);
            return drawing.instant(rows, row, ns, found, 0, Note::None);
        };
        drawing.number(rows, row, ns, value)?;
    }
    Ok(())
}

/// What all steps of a flow have in common.
fn flow(found: &Found<'_>) -> u64 {
    let definition = found.kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.key_field?));
    let key = match field.and_then(|field| field.bytes(found.event.payload)) {
        Some(bytes) => places::number_of_text(1, bytes),
        // None of its own: it is a step of nothing.
        None if found.event.correlation_id == 0 => return 0,
        None => found.event.correlation_id,
    };
    number_of(&[found.event.generation, found.event.kind.into(), key])
}
