//! The slices of a timeline: what begins and ends by events, and what is known when it ends.

use super::kept::Kept;
use super::pairs::{Ended, Key, Open, Pairs};
use super::places::number_of_text;
use super::rows::Rows;
use super::{Drawing, Note, Why};
use crate::failure::Failure;
use crate::journal::Found;
use crate::kinds::Kind;
use capture_pipeline::formats::nest::Nest;
use capture_pipeline::kinds::Value;

/// The most slices that are open at once.
const MOST_OPEN: usize = 65_536;
/// The most buffers that are kept for later.
const MOST_SPARE: usize = 256;

/// See the module.
pub(super) struct Slices {
    pairs: Pairs<Slice>,
    /// The row of each thread.
    nests: Vec<Nest>,
    spare: Vec<Vec<u8>>,
}

impl Default for Slices {
    fn default() -> Self {
        Self { pairs: Pairs::new(MOST_OPEN), nests: Vec::new(), spare: Vec::new() }
    }
}

/// A slice that is open.
struct Slice {
    /// `None`: it is not drawn, because its begin was not asked for. It is there so that its end does not end another one.
    drawn: Option<Drawn>,
}

struct Drawn {
    row: usize,
    /// Its lane. `None`: it is in its thread's row.
    lane: Option<usize>,
    kept: Kept,
}

impl Slices {
    fn nest(&mut self, thread: usize) -> &mut Nest {
        if self.nests.len() <= thread {
            self.nests.resize_with(thread + 1, Nest::default);
        }
        &mut self.nests[thread]
    }

    /// A slice begins.
    pub fn begin(
        &mut self,
        thread: usize,
        ns: u64,
        found: &Found<'_>,
        is_keyed: bool,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        for open in self.pairs.make_room() {
            self.close(open, ns, Why::TooMany, rows, drawing)?;
        }
        let key = is_keyed.then(|| key_of(found));
        let (row, lane) = match key.map(|_| rows.take_lane(thread, found)) {
            Some(Some((row, lane))) => (row, Some(lane)),
            // Too many rows: it is shown all the same.
            Some(None) => {
                let row = rows.of_thread(thread);
                return drawing.instant(rows, row, ns, found, 0, Note::Unpaired);
            }
            None => (rows.of_depth(thread, self.nest(thread).depth()), None),
        };
        let buffer = self.spare.pop().unwrap_or_default();
        let drawn = Some(Drawn { row, lane, kept: Kept::new(found, buffer) });
        self.pairs.begin(thread, found.event.kind, key, Slice { drawn });
        if lane.is_none() {
            self.nest(thread).begin(ns);
        }
        drawing.begin(rows, row, ns, found, Note::None)
    }

    /// A slice begins that is not drawn.
    pub fn begin_unseen(
        &mut self,
        thread: usize,
        ns: u64,
        found: &Found<'_>,
        is_keyed: bool,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        for open in self.pairs.make_room() {
            self.close(open, ns, Why::TooMany, rows, drawing)?;
        }
        let key = is_keyed.then(|| key_of(found));
        self.pairs.begin(thread, found.event.kind, key, Slice { drawn: None });
        Ok(())
    }

    /// Closes a slice that has no end.
    fn close(
        &mut self,
        open: Open<Slice>,
        ns: u64,
        why: Why,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        let row = self.leave(open, ns, rows);
        row.map_or(Ok(()), |row| drawing.end(rows, row, ns, Err(why)))
    }

    /// A slice leaves its row, if it is drawn.
    fn leave(&mut self, open: Open<Slice>, ns: u64, rows: &mut Rows) -> Option<usize> {
        let drawn = open.data.drawn?;
        match drawn.lane {
            Some(lane) => rows.free_lane(open.thread, open.kind, lane),
            None => self.nest(open.thread).end(ns),
        }
        if self.spare.len() < MOST_SPARE {
            self.spare.push(drawn.kept.into_buffer());
        }
        Some(drawn.row)
    }

    /// A slice ends. `of`: the kind that began it, whether it has a key, and whether its end was asked for.
    #[expect(clippy::too_many_arguments, reason = "what is lent for the one call has no better place")]
    pub fn end<'k>(
        &mut self,
        thread: usize,
        ns: u64,
        found: &Found<'_>,
        of: (u32, bool, bool),
        kind_of: impl Fn(usize) -> Option<&'k Kind>,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        let key = of.1.then(|| key_of(found));
        let Some(Ended { open, crossed }) =
            self.pairs.end(thread, of.0, key).filter(|ended| ended.open.data.drawn.is_some())
        else {
            if !of.2 {
                return Ok(());
            }
            let row = rows.of_thread(thread);
            return drawing.instant(rows, row, ns, found, 0, Note::Unpaired);
        };
        if crossed > 0 {
            return self.end_crossed(open, crossed, ns, found, kind_of, rows, drawing);
        }
        let row = self.leave(open, ns, rows);
        row.map_or(Ok(()), |row| drawing.end(rows, row, ns, Ok(Some(found))))
    }

    /// A slice ends that others lie within, which are still open: they are closed, and go on behind it.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what is lent for the one call has no better place")]
    fn end_crossed<'k>(
        &mut self,
        open: Open<Slice>,
        crossed: usize,
        ns: u64,
        found: &Found<'_>,
        kind_of: impl Fn(usize) -> Option<&'k Kind>,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        let thread = open.thread;
        let others = self.pairs.last(thread, crossed);
        for other in others.iter().rev().filter_map(|other| other.data.drawn.as_ref()) {
            self.nests[thread].end(ns);
            drawing.end(rows, other.row, ns, Err(Why::Crossed))?;
        }
        if let Some(row) = self.leave(open, ns, rows) {
            drawing.end(rows, row, ns, Ok(Some(found)))?;
        }
        for other in self.pairs.last(thread, crossed).iter_mut().filter_map(|other| other.data.drawn.as_mut())
        {
            let row = rows.of_depth(thread, self.nests[thread].depth());
            other.row = row;
            self.nests[thread].begin(ns);
            let begin = |found: &Found<'_>| drawing.begin(rows, row, ns, found, Note::Continued);
            other.kept.show(&kind_of, begin).transpose()?;
        }
        Ok(())
    }

    /// A slice that is known when it ends.
    pub fn complete(
        &mut self,
        thread: usize,
        ns: u64,
        found: &Found<'_>,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        let began = ns.saturating_sub(duration(found));
        let row = if self.nest(thread).add(began, ns) {
            Some(rows.of_depth(thread, self.nest(thread).depth()))
        } else {
            rows.lane_for(thread, found, began, ns)
        };
        let Some(row) = row else {
            let row = rows.of_thread(thread);
            return drawing.instant(rows, row, ns, found, 0, Note::None);
        };
        drawing.begin(rows, row, began, found, Note::None)?;
        drawing.end(rows, row, ns, Ok(None))
    }

    /// Closes all slices of a thread.
    pub fn cut(
        &mut self,
        thread: usize,
        ns: u64,
        why: Why,
        rows: &mut Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        self.pairs.cut(thread).into_iter().try_for_each(|open| self.close(open, ns, why, rows, drawing))
    }

    /// Closes all slices, which go on in another file.
    pub fn pause(&mut self, ns: u64, rows: &Rows, drawing: &mut impl Drawing) -> Result<(), Failure> {
        let mut all = self.pairs.all().into_iter().rev().filter_map(|open| open.data.drawn.as_ref());
        all.try_for_each(|drawn| drawing.end(rows, drawn.row, ns, Err(Why::Split)))
    }

    /// Begins all slices again, in another file.
    pub fn resume<'k>(
        &mut self,
        ns: u64,
        kind_of: impl Fn(usize) -> Option<&'k Kind>,
        rows: &Rows,
        drawing: &mut impl Drawing,
    ) -> Result<(), Failure> {
        self.nests.iter_mut().for_each(|nest| *nest = Nest::default());
        for open in self.pairs.all() {
            let Some(drawn) = &open.data.drawn else { continue };
            if drawn.lane.is_none() {
                self.nests[open.thread].begin(ns);
            }
            let begin = |found: &Found<'_>| drawing.begin(rows, drawn.row, ns, found, Note::Continued);
            drawn.kept.show(&kind_of, begin).transpose()?;
        }
        Ok(())
    }
}

/// The nanoseconds that a complete event has lasted.
pub fn duration(found: &Found<'_>) -> u64 {
    let definition = found.kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.duration_field?));
    match field.and_then(|field| field.value(found.event.payload)) {
        Some(Value::Unsigned(ns)) => ns,
        Some(Value::Signed(ns)) => ns.max(0).unsigned_abs(),
        _ => 0,
    }
}

/// The key of an event. One that is absent is equal to others that are.
pub fn key_of(found: &Found<'_>) -> Key {
    const NUMBER: Key = 1 << 120;
    const TEXT: Key = 2 << 120;
    const LONG: Key = 3 << 120;
    let definition = found.kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.key_field?));
    let low = |number: i128| number.cast_unsigned() & (NUMBER - 1);
    match field.and_then(|field| field.value(found.event.payload)) {
        None => 0,
        Some(Value::Unsigned(number) | Value::Address(number)) => NUMBER | Key::from(number),
        Some(Value::Signed(number)) => NUMBER | low(number.into()),
        Some(Value::Enum { value, .. }) => NUMBER | low(value),
        Some(Value::Bool(value)) => NUMBER | Key::from(value),
        Some(Value::F32(value)) => NUMBER | Key::from(f64::from(value).to_bits()),
        Some(Value::F64(value)) => NUMBER | Key::from(value.to_bits()),
        Some(Value::String(text) | Value::Bytes(text)) if text.len() < 15 => {
            let bytes = text.iter().fold(text.len() as Key, |key, byte| key << 8 | Key::from(*byte));
            TEXT | bytes
        }
        Some(Value::String(text) | Value::Bytes(text)) => {
            let halves = (number_of_text(1, text), number_of_text(2, text));
            LONG | (Key::from(halves.0) << 56) ^ Key::from(halves.1)
        }
    }
}
