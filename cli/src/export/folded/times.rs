//! How long each stack of slices was the innermost one.

use super::frames::frame;
use crate::failure::Failure;
use crate::journal::Found;
use crate::timeline::rows::{RowOf, Rows};
use crate::timeline::{Drawing, Note, Why};
use capture_pipeline::kinds::Value;
use std::collections::{BTreeMap, HashMap};

/// So many slices of a level are kept apart: one that is known when it ends may take those into it that lie within it. Older ones become one, as in
/// [`Nest`](capture_pipeline::formats::nest::Nest).
const APART: usize = 1_024;

/// See the module.
#[derive(Default)]
pub struct Times {
    /// The open slices of each row; the first level is the row itself.
    rows: Vec<Vec<Level>>,
    /// The threads of rows.
    threads: Vec<Vec<u8>>,
    names: HashMap<String, u32>,
    list: Vec<String>,
}

/// A slice that is open.
#[derive(Default)]
struct Level {
    name: u32,
    began: u64,
    ended: Vec<Ended>,
}

/// Slices that have ended: one, or some beside each other.
#[derive(Default)]
struct Ended {
    began: u64,
    /// What all of them have lasted.
    lasted: u64,
    /// The nanoseconds of each stack, by the numbers of its names.
    own: BTreeMap<Vec<u32>, u64>,
}

impl Ended {
    fn take(&mut self, other: Self) {
        self.lasted += other.lasted;
        for (stack, ns) in other.own {
            *self.own.entry(stack).or_default() += ns;
        }
    }
}

impl Times {
    /// How many stacks there are, where they are the same in different slices not fewer.
    pub fn stacks(&self) -> usize {
        // The first level of each row has all that has ended: one look at each is enough.
        self.rows.iter().filter_map(|levels| levels.first()?.ended.first()).map(|ended| ended.own.len()).sum()
    }

    /// The stacks as lines, with their nanoseconds.
    pub fn into_lines(self) -> BTreeMap<Vec<u8>, u64> {
        let mut lines = BTreeMap::new();
        for (levels, thread) in self.rows.into_iter().zip(self.threads) {
            for ended in levels.into_iter().flat_map(|level| level.ended) {
                for (stack, ns) in ended.own {
                    let mut line = thread.clone();
                    for name in stack {
                        line.push(b';');
                        frame(&mut line, self.list[name as usize].as_bytes());
                    }
                    *lines.entry(line).or_default() += ns;
                }
            }
        }
        lines
    }

    fn levels(&mut self, rows: &Rows, row: usize) -> &mut Vec<Level> {
        while self.rows.len() <= row {
            let at = self.rows.len();
            let name = match rows.get(at).of {
                RowOf::Thread(thread)
                | RowOf::Lane(thread)
                | RowOf::Deeper(thread)
                | RowOf::Losses(thread) => rows.places.threads[thread].name.clone(),
                RowOf::Counter(..) | RowOf::Totals(_) => Vec::new(),
            };
            let mut thread = Vec::new();
            frame(&mut thread, &name);
            if matches!(rows.get(at).of, RowOf::Deeper(_)) {
                thread.push(b';');
                frame(&mut thread, rows.get(at).name.as_bytes());
            }
            self.threads.push(thread);
            self.rows.push(vec![Level::default()]);
        }
        &mut self.rows[row]
    }
}

impl Drawing for Times {
    fn clocks(&mut self, _ns: u64, _realtime_ns: u64) {}

    fn begin(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        _note: Note,
    ) -> Result<(), Failure> {
        let label = found.kind.own_label(found.event.payload);
        let label =
            label.map_or_else(|| found.kind.label(), |text| String::from_utf8_lossy(text).into_owned());
        let next = self.list.len() as u32;
        let name = match self.names.get(&label) {
            Some(name) => *name,
            None => {
                self.list.push(label.clone());
                self.names.insert(label, next);
                next
            }
        };
        let levels = self.levels(rows, row);
        let mut level = Level { name, began: ns, ended: Vec::new() };
        if let Some(outer) = levels.last_mut() {
            let within = outer.ended.iter().rev().take_while(|ended| ended.began > ns).count();
            level.ended = outer.ended.split_off(outer.ended.len() - within);
        }
        levels.push(level);
        Ok(())
    }

    fn end(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        _by: Result<Option<&Found<'_>>, Why>,
    ) -> Result<(), Failure> {
        let levels = self.levels(rows, row);
        if levels.len() < 2 {
            return Ok(());
        }
        let Some(level) = levels.pop() else { return Ok(()) };
        let lasted = ns.saturating_sub(level.began);
        let mut own = BTreeMap::new();
        let mut within = 0;
        for ended in level.ended {
            within += ended.lasted;
            for (mut stack, ns) in ended.own {
                stack.insert(0, level.name);
                *own.entry(stack).or_default() += ns;
            }
        }
        *own.entry(vec![level.name]).or_default() += lasted.saturating_sub(within);
        let Some(outer) = levels.last_mut() else { return Ok(()) };
        outer.ended.push(Ended { began: level.began, lasted, own });
        if outer.ended.len() > APART {
            let mut one = Ended { began: outer.ended[0].began, ..Ended::default() };
            outer.ended.drain(..APART / 2).for_each(|ended| one.take(ended));
            outer.ended.insert(0, one);
        }
        Ok(())
    }

    fn instant(
        &mut self,
        _rows: &Rows,
        _row: usize,
        _ns: u64,
        _found: &Found<'_>,
        _flow: u64,
        _note: Note,
    ) -> Result<(), Failure> {
        Ok(())
    }

    fn number(&mut self, _rows: &Rows, _row: usize, _ns: u64, _value: Value<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn lost(
        &mut self,
        _rows: &Rows,
        _row: usize,
        _times: (u64, u64),
        _counts: &[(&str, u64)],
    ) -> Result<(), Failure> {
        Ok(())
    }
}
