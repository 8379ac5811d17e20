//! Draws events as packets of a trace: rows, slices, numbers, losses.
//!
//! Slices are written when they begin, and when they end, so that what is acknowledged is in the file. The reader sorts all events of a file by their times and
//! then lets each end close the slice of its row that began last. So begins and ends are balanced here: an end without its begin becomes an instant,
//! one that crosses others closes and reopens them, and where events are missing all open slices of their ring are closed.

use super::kinds::{Kind, Kinds};
use super::rings::Ring;
use super::rows::{Of, Process, Rows};
use crate::event::EventView;
use crate::files::failure::Failure;
use crate::formats::perfetto::{
    About, Encoder, Event, Mark, Name, NameOf, Names, OwnNames, annotate, number_of, number_of_text,
};
use crate::kinds::{Role, Value};

/// Why a slice ends without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The pipeline is closed.
    End,
    /// Events of its ring were lost, and its end may be one of them.
    Losses,
    /// The file ends here, and it goes on in the next one.
    Split,
    /// The end of one came that it lies within. It goes on behind that.
    Crossed,
    /// There are too many rings.
    TooMany,
}

/// What else an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    None,
    /// An end without a begin.
    Unpaired,
    /// It has a begin's or an end's kind, and is not drawn as one: its time is before that of the event before it, or too many are open.
    NoSlice,
}

/// The pipeline's losses so far; `None`: not known.
pub(super) type Losses<'a> = &'a mut dyn FnMut() -> bool;

/// See the module.
pub(super) struct Drawer {
    pub encoder: Encoder,
    pub names: Names,
    pub kinds: Kinds,
    pub rows: Rows,
    pub(super) own: OwnNames,
    no_slice: Name,
    kind_name: Name,
    pub(super) whys: [(Why, Name); 5],
    generation: u64,
    /// A time, and what CLOCK_REALTIME showed then.
    clocks: Option<(u64, u64)>,
}

/// The clocks are told again when their difference has changed by more than this, in nanoseconds, but only so often.
const CLOCKS_DIFFER: u64 = 1_000_000;
const CLOCKS_EVERY: u64 = 1_000_000_000;

impl Drawer {
    pub fn new(process: Process) -> Self {
        let mut names = Names::default();
        let own = OwnNames::new(&mut names);
        let no_slice = names.name(NameOf::Annotation, b"_no_slice");
        let kind_name = names.name(NameOf::Annotation, b"_kind");
        let whys = [
            (Why::End, "end"),
            (Why::Losses, "losses"),
            (Why::Split, "split"),
            (Why::Crossed, "crossed"),
            (Why::TooMany, "too_many"),
        ];
        let whys = whys.map(|(why, text)| (why, names.name(NameOf::Text, text.as_bytes())));
        Self {
            encoder: Encoder::default(),
            names,
            kinds: Kinds::default(),
            rows: Rows::new(process),
            own,
            no_slice,
            kind_name,
            whys,
            generation: 0,
            clocks: None,
        }
    }

    /// The run of the events that follow.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// What was made is written, or given up.
    pub fn clear(&mut self) {
        self.encoder.out.clear();
        // One large batch does not take its memory for ever.
        self.encoder.out.shrink_to(4 << 20);
    }

    /// What was made since the last write is not in the file, which goes on: everything is said again.
    pub fn restart(&mut self) {
        self.clear();
        self.rows.restart();
        self.clocks = None;
    }

    /// Tells what the clocks show, if that has changed.
    pub fn relate(&mut self, ns: u64, realtime_offset_ns: i64) -> Result<(), Failure> {
        let realtime_ns = ns.wrapping_add_signed(realtime_offset_ns);
        let has_changed = self.clocks.is_none_or(|(before, realtime)| {
            let moved =
                realtime_ns.wrapping_sub(realtime).wrapping_sub(ns.wrapping_sub(before)).cast_signed();
            moved.unsigned_abs() > CLOCKS_DIFFER && ns.saturating_sub(before) >= CLOCKS_EVERY
        });
        if has_changed {
            self.reserve(0)?;
            self.clocks = Some((ns, realtime_ns));
            self.encoder.clocks(ns, realtime_ns);
        }
        Ok(())
    }

    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        self.encoder.reserve(bytes + 512).map_err(|_| Failure::no_memory())
    }

    /// The row of a ring: that of its thread, or one beside it.
    pub(super) fn row_of(&mut self, ring: &mut Ring) -> Result<usize, Failure> {
        if let Some(row) = ring.row {
            return Ok(row);
        }
        let of = ring.tid.map_or(Of::Events, Of::Thread);
        let thread = self.rows.add(ring.thread, None, of, &ring.name)?.unwrap_or(0);
        let row = match ring.uuid == ring.thread {
            true => thread,
            false => {
                let name = format!("ring {}", ring.id);
                self.rows.add(ring.uuid, Some(thread), Of::Events, name.as_bytes())?.unwrap_or(thread)
            }
        };
        ring.row = Some(row);
        Ok(row)
    }

    /// Draws an event. `lost`: whether the pipeline has lost events, as far as it tells.
    #[inline]
    pub fn event(
        &mut self,
        ring: &mut Ring,
        event: &EventView,
        may_open: bool,
        lost: Losses<'_>,
    ) -> Result<(), Failure> {
        let kind_at = self.kinds.find(event.kind, &mut self.names)?;
        let kind = self.kinds.get(kind_at);
        let most = kind.names.most_bytes(kind.definition.as_ref(), event.payload());
        let role = kind.role;
        // (A label is written as a name, too.)
        self.reserve(2 * most + 8_192)?;
        ring.stack.reserve()?;
        let before = ring.stack.last;
        ring.stack.last = Some(before.map_or(event.sequence, |last| last.max(event.sequence)));
        let missing = before.and_then(|last| event.sequence.checked_sub(last)?.checked_sub(1)).unwrap_or(0);
        if missing > 0 && lost() {
            self.lost(ring, event.timestamp_ns, missing)?;
        }
        let is_late = event.timestamp_ns < ring.stack.ns;
        match role {
            Role::Instant | Role::Log => self.instant(ring, event, kind_at, 0, Note::None),
            Role::Flow => {
                let flow = self.flow(event, kind_at);
                self.instant(ring, event, kind_at, flow, Note::None)
            }
            Role::Begin | Role::End if is_late => self.instant(ring, event, kind_at, 0, Note::NoSlice),
            Role::Begin if !may_open => self.instant(ring, event, kind_at, 0, Note::NoSlice),
            Role::Begin => self.begin(ring, event, kind_at),
            Role::End => self.end(ring, event, kind_at),
            Role::Complete => self.complete(ring, event, kind_at, is_late),
            Role::Counter => self.numbers(ring, event, kind_at),
        }?;
        ring.stack.ns = ring.stack.ns.max(event.timestamp_ns);
        Ok(())
    }

    /// Writes an event into a row.
    pub(super) fn put(
        &mut self,
        row: usize,
        event: &EventView,
        kind_at: usize,
        shown: Event<'_>,
        note: Note,
    ) {
        let sequence = self.rows.prepare(row, &mut self.encoder);
        let kind = self.kinds.get(kind_at);
        // A name at the end of a slice would be a condition.
        let is_named = shown.mark != Mark::End;
        let label = kind.label(event.payload()).filter(|_| is_named);
        let label = label.map(|label| self.names.name(NameOf::Event, label));
        let name = is_named.then_some(label.as_ref().unwrap_or(&kind.names.name));
        let shown = Event { name, category: kind.names.category.as_ref().filter(|_| is_named), ..shown };
        let (definition, payload) = (kind.definition.as_ref(), event.payload());
        let about = About {
            payload,
            shows_payload: !definition.is_some_and(|definition| definition.fits(payload)),
            correlation_id: event.correlation_id,
            node_id: event.node_id,
            weight: event.weight,
            flags: event.flags,
        };
        let (own, no_slice, kind_name) = (&self.own, &self.no_slice, &self.kind_name);
        self.encoder.event(sequence, shown, |annotations| {
            annotate(annotations, own, &kind.names, definition, &about);
            if kind.is_rest {
                annotations.unsigned(kind_name, event.kind.into());
            }
            match note {
                Note::None => {}
                Note::Unpaired => annotations.value(&own.unpaired, Value::Bool(true)),
                Note::NoSlice => annotations.value(no_slice, Value::Bool(true)),
            }
        });
    }

    pub(super) fn instant(
        &mut self,
        ring: &mut Ring,
        event: &EventView,
        kind_at: usize,
        flow: u64,
        note: Note,
    ) -> Result<(), Failure> {
        let row = self.row_of(ring)?;
        let shown = Event { flow, ..Event::new(event.timestamp_ns, Mark::Instant) };
        self.put(row, event, kind_at, shown, note);
        Ok(())
    }

    /// What all steps of a flow have in common; 0: it is a step of nothing.
    fn flow(&self, event: &EventView, kind_at: usize) -> u64 {
        let key = match key_bytes(self.kinds.get(kind_at), event) {
            Some(bytes) => number_of_text(1, bytes),
            None if event.correlation_id == 0 => return 0,
            None => event.correlation_id,
        };
        number_of(&[self.generation, event.kind.into(), key])
    }

    /// The numbers of a counter. An event that has none is shown as it is.
    fn numbers(&mut self, ring: &mut Ring, event: &EventView, kind_at: usize) -> Result<(), Failure> {
        let mut drawn = 0;
        let kind = self.kinds.get(kind_at);
        if let Some(definition) = &kind.definition {
            let key_field = definition.key_field.map(|at| &definition.fields[at]);
            let key = key_bytes(kind, event).map_or(0, |bytes| number_of_text(1, bytes));
            for (at, (field, value)) in definition.values(event.payload()).enumerate() {
                let is_one = field.field_type.is_number() && definition.key_field != Some(at);
                let Some(value) = value.filter(|_| is_one) else { continue };
                let number = number_of(&[self.generation, event.kind.into(), at as u64, key]);
                let uuid = number_of(&[self.rows.process.uuid, number, 2]);
                let row = match self.rows.find(uuid) {
                    Some(row) => Some(row),
                    None => {
                        let mut name = format!("{} {}", definition.name, field.name);
                        if let Some(key_field) = key_field {
                            name = format!("{name} [{}]", key_field.show(event.payload()));
                        }
                        let of = Of::Counter(field.hint, field.unit.as_str().into());
                        self.rows.add(uuid, None, of, name.as_bytes())?
                    }
                };
                let Some(row) = row else { continue };
                let sequence = self.rows.prepare(row, &mut self.encoder);
                self.encoder.counter(sequence, event.timestamp_ns, value);
                drawn += 1;
            }
        }
        if drawn == 0 { self.instant(ring, event, kind_at, 0, Note::None) } else { Ok(()) }
    }

    /// Events of a ring are missing before this time: its open slices are closed, because their ends may be among them.
    #[cold]
    fn lost(&mut self, ring: &mut Ring, ns: u64, count: u64) -> Result<(), Failure> {
        let (from, to) = (ring.stack.ns.min(ns), ns);
        self.close(ring, ns, Why::Losses)?;
        let own = self.row_of(ring)?;
        let uuid = number_of(&[ring.uuid, ring.id, 5]);
        let row = self.rows.add(uuid, Some(own), Of::Events, b"losses")?.unwrap_or(own);
        self.losses(row, (from, to), &[("events", count)])
    }

    /// What the whole pipeline has lost.
    pub fn totals(&mut self, ns: u64, counts: &[(&str, u64)]) -> Result<(), Failure> {
        self.reserve(128 * counts.len())?;
        let uuid = number_of(&[self.rows.process.uuid, self.generation, 7]);
        match self.rows.add(uuid, None, Of::Events, b"losses")? {
            Some(row) => self.losses(row, (ns, ns), counts),
            None => Ok(()),
        }
    }

    fn losses(&mut self, row: usize, (from, to): (u64, u64), counts: &[(&str, u64)]) -> Result<(), Failure> {
        self.reserve(256)?;
        let (name, category) = (Some(&self.own.lost), Some(&self.own.losses));
        let shown = Event { name, category, ..Event::new(from, Mark::Begin) };
        let names = &mut self.names;
        let sequence = self.rows.prepare(row, &mut self.encoder);
        self.encoder.event(sequence, shown, |annotations| {
            for (text, count) in counts {
                annotations.unsigned(&names.name(NameOf::Annotation, text.as_bytes()), *count);
            }
        });
        self.encoder.event(sequence, Event::new(to, Mark::End), |_| {});
        Ok(())
    }

    /// A file begins that has nothing yet.
    pub fn begin_file(&mut self) {
        self.clear();
        self.rows.forget();
        self.clocks = None;
    }
}

/// The bytes of the field that tells one series, flow or pair from another. A text ends before its first NUL.
pub(super) fn key_bytes<'a>(kind: &'a Kind, event: &'a EventView) -> Option<&'a [u8]> {
    let definition = kind.definition.as_ref()?;
    let field = definition.fields.get(definition.key_field?)?;
    match field.value(event.payload())? {
        Value::String(text) => Some(text),
        _ => field.bytes(event.payload()),
    }
}
