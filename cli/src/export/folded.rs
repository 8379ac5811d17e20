//! Collapsed stacks, for flame graphs: a line for each stack, with a number.
//!
//! Where the kinds that are chosen have a field `stack`, a line has the stacks of their events and how many there were. Otherwise it has the slices that lie
//! within each other and the nanoseconds that were spent in the last of them alone.

mod frames;
mod times;

use super::Exporter;
use super::target::Output;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::kinds::Kind;
use crate::numbers;
use crate::timeline::Timeline;
use capture_pipeline::kinds::{Field, Type, Value};
use frames::frame;
use std::collections::BTreeMap;
use times::Times;

/// The most different stacks.
const MOST: usize = 1_000_000;

/// See the module.
pub struct Folded {
    output: Output,
    timeline: Timeline,
    times: Times,
    /// The events of each stack. `None`: there are no stacks in the events.
    counts: Option<BTreeMap<Vec<u8>, f64>>,
}

/// The field of a kind that has a stack: a text with frames, the outermost first and a `;` or a line end between them, or addresses, the innermost first.
fn stack_of(kind: &Kind) -> Option<&Field> {
    let fields = &kind.definition.as_ref()?.fields;
    fields.iter().find(|field| {
        field.name.eq_ignore_ascii_case("stack") && matches!(field.field_type, Type::String | Type::Bytes)
    })
}

impl Folded {
    /// Writes to `output`.
    pub fn new(output: Output, journal: &Journal) -> Self {
        let has_stacks = journal.kinds().iter().any(|kind| kind.is_wanted() && stack_of(kind).is_some());
        Self {
            output,
            timeline: Timeline::new(journal),
            times: Times::default(),
            counts: has_stacks.then(BTreeMap::new),
        }
    }
}

impl Exporter for Folded {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        let Some(counts) = &mut self.counts else {
            self.timeline.add(&found, &mut self.times)?;
            return if self.times.stacks() > MOST { Err(too_many()) } else { Ok(()) };
        };
        let Some(value) = stack_of(found.kind).and_then(|field| field.value(found.event.payload)) else {
            return Ok(());
        };
        let mut line = Vec::new();
        frame(&mut line, found.thread.map_or(&b"?"[..], |thread| &thread.name));
        match value {
            Value::String(text) => {
                for name in text.split(|byte| matches!(byte, b';' | b'\n')).filter(|name| !name.is_empty()) {
                    line.push(b';');
                    frame(&mut line, name);
                }
            }
            Value::Bytes(bytes) => {
                for address in bytes.chunks_exact(8).rev() {
                    let number =
                        address.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                    line.extend_from_slice(format!(";{number:#x}").as_bytes());
                }
            }
            _ => {}
        }
        line.push(b';');
        frame(&mut line, found.kind.label().as_bytes());
        let weight = if found.event.weight.is_finite() { found.event.weight } else { 1.0 };
        *counts.entry(line).or_default() += weight;
        if counts.len() > MOST { Err(too_many()) } else { Ok(()) }
    }

    fn skip(&mut self, found: Found<'_>) -> Result<(), Failure> {
        match self.counts {
            None => self.timeline.skip(&found, &mut self.times),
            Some(_) => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        let lines: BTreeMap<Vec<u8>, u64> = match self.counts {
            Some(counts) => counts.into_iter().map(|(line, count)| (line, count.round() as u64)).collect(),
            None => {
                self.timeline.finish(&mut self.times)?;
                self.times.into_lines()
            }
        };
        let mut out = Vec::new();
        for (line, number) in lines.into_iter().filter(|(_, number)| *number > 0) {
            out.extend_from_slice(&line);
            out.push(b' ');
            numbers::integer(&mut out, number);
            out.push(b'\n');
            if out.len() > 256 << 10 {
                self.output.put(&out)?;
                out.clear();
            }
        }
        self.output.put(&out)
    }
}

fn too_many() -> Failure {
    Failure::new(format!(
        "more than {MOST} different stacks; choose fewer events, with --kind, --from or --where"
    ))
}
