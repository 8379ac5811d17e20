//! Slices: what begins and ends by events, and what is known when it ends.

use super::draw::{Drawer, Note, Why, key_bytes};
use super::kinds::Kind;
use super::rings::{Lane, MOST_OPEN, Open, Ring, Stack};
use super::rows::Of;
use crate::event::EventView;
use crate::files::failure::Failure;
use crate::formats::nest::MOST_DEEP;
use crate::formats::perfetto::{
    About, Annotations, Event, Mark, NameOf, annotate, number_of, number_of_text,
};
use crate::kinds::Value;
use std::sync::Arc;

impl Drawer {
    /// The row for a slice that lies within so many others.
    pub(super) fn row_of_depth(&mut self, ring: &mut Ring, depth: usize) -> Result<usize, Failure> {
        let own = self.row_of(ring)?;
        let level = depth / MOST_DEEP;
        if level == 0 {
            return Ok(own);
        }
        let uuid = number_of(&[ring.uuid, level as u64, 6]);
        let name = format!("deeper than {}", level * MOST_DEEP);
        Ok(self.rows.add(uuid, Some(own), Of::Events, name.as_bytes())?.unwrap_or(own))
    }

    pub(super) fn begin(
        &mut self,
        ring: &mut Ring,
        event: &EventView,
        kind_at: usize,
    ) -> Result<(), Failure> {
        let is_keyed = self.kinds.get(kind_at).is_keyed;
        let stack = &ring.stack;
        if (if is_keyed { stack.keyed.len() } else { stack.open.len() }) >= MOST_OPEN {
            return self.instant(ring, event, kind_at, 0, Note::NoSlice);
        }
        let row = match is_keyed {
            true => self.lane(ring, event.kind, kind_at, 0, u64::MAX)?,
            false => Some(self.row_of_depth(ring, ring.stack.nest.depth())?),
        };
        let Some(row) = row else { return self.instant(ring, event, kind_at, 0, Note::NoSlice) };
        let key = if is_keyed { key_of(self.kinds.get(kind_at), event) } else { 0 };
        let (correlation_id, node_id) = (event.correlation_id, event.node_id);
        let label = self.kinds.get(kind_at).label(event.payload()).map(Arc::from);
        let open = Open { kind: event.kind, kind_at, key, row, label, correlation_id, node_id };
        if is_keyed {
            ring.stack.keyed.push(open);
        } else {
            ring.stack.open.push(open);
            ring.stack.nest.begin(event.timestamp_ns);
        }
        self.put(row, event, kind_at, Event::new(event.timestamp_ns, Mark::Begin), Note::None);
        Ok(())
    }

    pub(super) fn end(&mut self, ring: &mut Ring, event: &EventView, kind_at: usize) -> Result<(), Failure> {
        let kind = self.kinds.get(kind_at);
        let (begins, is_keyed, key) = (kind.begins, kind.is_keyed, key_of(kind, event));
        let ns = event.timestamp_ns;
        let shown = Event::new(ns, Mark::End);
        if is_keyed {
            let found = ring.stack.keyed.iter().rposition(|open| open.kind == begins && open.key == key);
            let Some(at) = found else { return self.instant(ring, event, kind_at, 0, Note::Unpaired) };
            let open = ring.stack.keyed.remove(at);
            free(&mut ring.stack, open.row, ns);
            self.put(open.row, event, kind_at, shown, Note::None);
            return Ok(());
        }
        let Some(at) = ring.stack.open.iter().rposition(|open| open.kind == begins) else {
            return self.instant(ring, event, kind_at, 0, Note::Unpaired);
        };
        // Those that lie within it and are still open are closed, and go on behind it.
        let crossed = ring.stack.open.len() - 1 - at;
        self.reserve(crossed * 1_024)?;
        for inner in (at + 1..ring.stack.open.len()).rev() {
            ring.stack.nest.end(ns);
            self.cut_one(ring.stack.open[inner].row, ns, Why::Crossed);
        }
        let open = ring.stack.open.remove(at);
        ring.stack.nest.end(ns);
        self.put(open.row, event, kind_at, shown, Note::None);
        for inner in at..ring.stack.open.len() {
            ring.stack.nest.reserve().map_err(|_| Failure::no_memory())?;
            let row = self.row_of_depth(ring, ring.stack.nest.depth())?;
            ring.stack.open[inner].row = row;
            ring.stack.nest.begin(ns);
            self.go_on(&ring.stack.open[inner], ns);
        }
        Ok(())
    }

    /// A slice that is known when it ends.
    pub(super) fn complete(
        &mut self,
        ring: &mut Ring,
        event: &EventView,
        kind_at: usize,
        is_late: bool,
    ) -> Result<(), Failure> {
        let ns = event.timestamp_ns;
        let began = ns.saturating_sub(duration(self.kinds.get(kind_at), event));
        let row = if !is_late && began >= ring.stack.since && ring.stack.nest.add(began, ns) {
            Some(self.row_of_depth(ring, ring.stack.nest.depth())?)
        } else {
            self.lane(ring, event.kind, kind_at, began, ns)?
        };
        let Some(row) = row else { return self.instant(ring, event, kind_at, 0, Note::NoSlice) };
        self.put(row, event, kind_at, Event::new(began, Mark::Begin), Note::None);
        let sequence = self.rows.prepare(row, &mut self.encoder);
        self.encoder.event(sequence, Event::new(ns, Mark::End), |_| {});
        Ok(())
    }

    /// A lane that is free from `began` on, and taken until `until`. `None`: there are too many.
    fn lane(
        &mut self,
        ring: &mut Ring,
        kind: u32,
        kind_at: usize,
        began: u64,
        until: u64,
    ) -> Result<Option<usize>, Failure> {
        // (A begin comes after all that its ring had before.)
        let began = if until == u64::MAX { u64::MAX - 1 } else { began };
        if let Some(lane) = ring.stack.lanes.iter_mut().find(|lane| lane.kind == kind && lane.until <= began)
        {
            lane.until = until;
            return Ok(Some(lane.row));
        }
        if ring.stack.lanes.len() >= MOST_OPEN {
            return Ok(None);
        }
        let number = ring.stack.lanes.iter().filter(|lane| lane.kind == kind).count();
        let own = self.row_of(ring)?;
        let uuid = number_of(&[ring.uuid, kind.into(), number as u64, 3]);
        let name = self.kinds.get(kind_at).names.name.text();
        let Some(row) = self.rows.add(uuid, Some(own), Of::Events, name.as_bytes())? else { return Ok(None) };
        ring.stack.lanes.push(Lane { kind, row, until });
        Ok(Some(row))
    }

    /// Closes all slices of a ring.
    pub fn close(&mut self, ring: &mut Ring, ns: u64, why: Why) -> Result<(), Failure> {
        let ns = ns.max(ring.stack.ns);
        self.reserve(512 * ring.stack.opens())?;
        while let Some(open) = ring.stack.open.pop() {
            ring.stack.nest.end(ns);
            self.cut_one(open.row, ns, why);
        }
        while let Some(open) = ring.stack.keyed.pop() {
            free(&mut ring.stack, open.row, ns);
            self.cut_one(open.row, ns, why);
        }
        Ok(())
    }

    /// Ends the slices of a ring in the file, which go on in the next one.
    pub fn pause(&mut self, ring: &Ring) -> Result<(), Failure> {
        self.reserve(512 * ring.stack.opens())?;
        for open in ring.stack.open.iter().rev().chain(&ring.stack.keyed) {
            self.cut_one(open.row, ring.stack.ns, Why::Split);
        }
        Ok(())
    }

    fn cut_one(&mut self, row: usize, ns: u64, why: Why) {
        let text = self.whys.iter().find(|(of, _)| *of == why).map(|(_, text)| text);
        let truncated = &self.own.truncated;
        let sequence = self.rows.prepare(row, &mut self.encoder);
        self.encoder.event(sequence, Event::new(ns, Mark::End), |annotations| {
            if let Some(text) = text {
                annotations.one_of(truncated, text);
            }
        });
    }

    /// A slice goes on that was closed.
    fn go_on(&mut self, open: &Open, ns: u64) {
        let sequence = self.rows.prepare(open.row, &mut self.encoder);
        let kind = self.kinds.get(open.kind_at);
        let label = open.label.as_ref().map(|label| self.names.name(NameOf::Event, label));
        let name = Some(label.as_ref().unwrap_or(&kind.names.name));
        let category = kind.names.category.as_ref();
        let shown = Event { name, category, ..Event::new(ns, Mark::Begin) };
        let about = About {
            payload: &[],
            shows_payload: false,
            correlation_id: open.correlation_id,
            node_id: open.node_id,
            weight: 1.0,
            flags: 0,
        };
        let own = &self.own;
        self.encoder.event(sequence, shown, |annotations: &mut Annotations<'_>| {
            annotate(annotations, own, &kind.names, None, &about);
            annotations.value(&own.continued, Value::Bool(true));
        });
    }

    /// What is open in a ring goes on in this file.
    pub fn resume(&mut self, ring: &mut Ring) -> Result<(), Failure> {
        ring.row = None;
        ring.stack.nest.clear();
        ring.stack.lanes.clear();
        let ns = ring.stack.ns;
        self.reserve(1_024 * ring.stack.opens())?;
        for at in 0..ring.stack.open.len() {
            let row = self.row_of_depth(ring, ring.stack.nest.depth())?;
            ring.stack.open[at].row = row;
            ring.stack.nest.reserve().map_err(|_| Failure::no_memory())?;
            ring.stack.nest.begin(ns);
            self.go_on(&ring.stack.open[at], ns);
        }
        for at in 0..ring.stack.keyed.len() {
            ring.stack.lanes.try_reserve(1).map_err(|_| Failure::no_memory())?;
            let Open { kind, kind_at, .. } = ring.stack.keyed[at];
            let own = self.row_of(ring)?;
            ring.stack.keyed[at].row = self.lane(ring, kind, kind_at, 0, u64::MAX)?.unwrap_or(own);
            self.go_on(&ring.stack.keyed[at], ns);
        }
        Ok(())
    }
}

/// The slice of a lane ends.
fn free(stack: &mut Stack, row: usize, ns: u64) {
    if let Some(lane) = stack.lanes.iter_mut().find(|lane| lane.row == row) {
        lane.until = ns;
    }
}

/// The key of an event. One that is absent is equal to others that are.
fn key_of(kind: &Kind, event: &EventView) -> u128 {
    let Some(bytes) = key_bytes(kind, event) else { return 1 };
    match bytes.len() {
        0..=14 => {
            let low = bytes.iter().fold(0, |key: u128, byte| key << 8 | u128::from(*byte));
            2 << 120 | (bytes.len() as u128) << 112 | low
        }
        _ => 3 << 126 | u128::from(number_of_text(1, bytes)) << 62 ^ u128::from(number_of_text(2, bytes)),
    }
}

/// The nanoseconds that a complete event has lasted.
fn duration(kind: &Kind, event: &EventView) -> u64 {
    let definition = kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.duration_field?));
    match field.and_then(|field| field.value(event.payload())) {
        Some(Value::Unsigned(ns)) => ns,
        Some(Value::Signed(ns)) => ns.max(0).unsigned_abs(),
        _ => 0,
    }
}
