//! How long things take: the durations of complete kinds, and of begins and their ends.

use crate::failure::Failure;
use crate::journal::Found;
use crate::timeline::rows::Rows;
use crate::timeline::slices::duration;
use crate::timeline::{Drawing, Note, Why};
use capture_pipeline::kinds::{Role, Value};
use std::collections::{BTreeMap, HashMap};

/// The most names of kinds.
const MOST: usize = 1_000;
/// A power of two has so many steps: a duration is known to about 3 %.
const STEPS: u32 = 5;

/// Durations, counted in steps that grow with them.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    counts: BTreeMap<u32, u64>,
    pub count: u64,
    pub longest: u64,
}

/// The step of a duration.
fn step(ns: u64) -> u32 {
    let high = 63_u32.saturating_sub(ns.leading_zeros());
    if high < STEPS {
        ns as u32
    } else {
        ((high - STEPS + 1) << STEPS) | (ns >> (high - STEPS)) as u32 & ((1 << STEPS) - 1)
    }
}

/// The longest duration of a step.
fn end(step: u32) -> u64 {
    let (power, part) = (step >> STEPS, u64::from(step & ((1 << STEPS) - 1)));
    if power == 0 { part } else { ((((1 << STEPS) | part) + 1) << (power - 1)).wrapping_sub(1) }
}

impl Durations {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        *self.counts.entry(step(ns)).or_default() += 1;
        self.count += 1;
        self.longest = self.longest.max(ns);
    }

    /// The duration that such a part of all do not exceed.
    pub fn percentile(&self, part: f64) -> u64 {
        let wanted = ((self.count as f64 * part).ceil() as u64).clamp(1, self.count.max(1));
        let mut before = 0;
        for (step, count) in &self.counts {
            before += count;
            if before >= wanted {
                return end(*step).min(self.longest);
            }
        }
        self.longest
    }
}

/// A slice that has begun.
#[derive(Clone, Copy)]
struct Begun {
    /// Its event: generation, ring and sequence.
    by: (u64, u64, u64),
    label: Option<usize>,
    ns: u64,
}

/// See the module: of each kind, by the name of the one that begins.
#[derive(Default)]
pub struct Latencies {
    labels: HashMap<String, usize>,
    /// The places of labels in the list, by the places of kinds in the journal's.
    kinds: Vec<Option<usize>>,
    pub list: Vec<(String, Durations)>,
    rows: Vec<Vec<Begun>>,
    /// Those that were closed because another one's end came, and that go on behind it.
    crossed: HashMap<(u64, u64, u64), u64>,
    /// Slices without an end.
    pub without_end: u64,
}

impl Latencies {
    #[inline]
    fn label(&mut self, found: &Found<'_>) -> Option<usize> {
        if let Some(Some(at)) = self.kinds.get(found.kind_at) {
            return Some(*at);
        }
        let at = self.find(found.kind.label())?;
        // (One that stands for others has another name each time.)
        if !found.kind.is_rest {
            if self.kinds.len() <= found.kind_at {
                self.kinds.resize(found.kind_at + 1, None);
            }
            self.kinds[found.kind_at] = Some(at);
        }
        Some(at)
    }

    #[cold]
    fn find(&mut self, label: String) -> Option<usize> {
        if let Some(at) = self.labels.get(&label) {
            return Some(*at);
        }
        if self.list.len() == MOST {
            return None;
        }
        self.labels.insert(label.clone(), self.list.len());
        self.list.push((label, Durations::default()));
        Some(self.list.len() - 1)
    }

    /// Counts an event that has its duration, also one that there is no room for in a row, or that began before the time that is drawn.
    fn complete(&mut self, found: &Found<'_>) -> bool {
        let is_complete =
            found.kind.definition.as_ref().is_some_and(|definition| definition.role == Role::Complete);
        if is_complete && let Some(label) = self.label(found) {
            self.list[label].1.add(duration(found));
        }
        is_complete
    }
}

impl Drawing for Latencies {
    fn clocks(&mut self, _ns: u64, _realtime_ns: u64) {}

    fn begin(
        &mut self,
        _rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        note: Note,
    ) -> Result<(), Failure> {
        let by = (found.event.generation, found.event.ring_id, found.event.sequence);
        let is_counted = self.complete(found);
        let ns = if note == Note::Continued { self.crossed.remove(&by).unwrap_or(ns) } else { ns };
        let label = if is_counted { None } else { self.label(found) };
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Vec::new);
        }
        self.rows[row].push(Begun { by, label, ns });
        Ok(())
    }

    fn end(
        &mut self,
        _rows: &Rows,
        row: usize,
        ns: u64,
        by: Result<Option<&Found<'_>>, Why>,
    ) -> Result<(), Failure> {
        let Some(begun) = self.rows.get_mut(row).and_then(Vec::pop) else { return Ok(()) };
        match (by, begun.label) {
            (Ok(_), Some(label)) => self.list[label].1.add(ns.saturating_sub(begun.ns)),
            (Err(Why::Crossed), _) => {
                self.crossed.insert(begun.by, begun.ns);
            }
            (Err(_), _) => self.without_end += 1,
            (Ok(_), None) => {}
        }
        Ok(())
    }

    fn instant(
        &mut self,
        _rows: &Rows,
        _row: usize,
        _ns: u64,
        found: &Found<'_>,
        _flow: u64,
        _note: Note,
    ) -> Result<(), Failure> {
        self.complete(found);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_its_step() {
        for ns in (0..5_000)
            .chain((5..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
            .chain([u64::MAX])
        {
            let at = step(ns);
            assert!(end(at) >= ns && (at == 0 || end(at - 1) < ns), "{ns} {at}");
            assert!(end(at) - ns <= ns >> STEPS, "{ns}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_durations() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentile(0.5), 0);
        (1..=1_000).for_each(|ns| durations.add(ns * 1_000));
        for (part, ns) in [(0.5, 500_000), (0.9, 900_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let found = durations.percentile(part);
            assert!(found >= ns && found - ns <= ns >> STEPS, "{part} {found}");
        }
        assert_eq!((durations.count, durations.longest), (1_000, 1_000_000));
    }
}
