//! Events on a line of time, for whoever draws them: rows of slices, instants and numbers.

pub mod places;
pub mod rows;

use crate::failure::Failure;
use crate::journal::{Found, Journal};
use capture_pipeline::kinds::{Role, Value};
use places::{Places, number_of};
use rows::Rows;

/// Draws a timeline. The times of a row need not rise: a slice whose duration is known at its end begins before what was drawn last.
pub trait Drawing {
    /// A slice begins, by this event.
    fn begin(&mut self, rows: &Rows, row: usize, ns: u64, found: &Found<'_>) -> Result<(), Failure>;
    /// The slice ends that began last in its row.
    fn end(&mut self, rows: &Rows, row: usize, ns: u64, by: Option<&Found<'_>>) -> Result<(), Failure>;
    /// Something without a duration. `flow`: what it is a step of; 0: of nothing.
    fn instant(
        &mut self,
        rows: &Rows,
        row: usize,
        ns: u64,
        found: &Found<'_>,
        flow: u64,
    ) -> Result<(), Failure>;
    /// A number.
    fn number(&mut self, rows: &Rows, row: usize, ns: u64, value: Value<'_>) -> Result<(), Failure>;
}

/// See the module.
pub struct Timeline {
    rows: Rows,
}

impl Timeline {
    /// The timeline of a journal, without events.
    pub fn new(journal: &Journal) -> Self {
        Self { rows: Rows::new(Places::new(journal)) }
    }

    /// Draws an event.
    #[inline]
    pub fn add(&mut self, found: &Found<'_>, drawing: &mut impl Drawing) -> Result<(), Failure> {
        let thread = self.rows.places.find(found);
        let ns = self.rows.places.time(thread, found.event.timestamp_ns);
        let Some(definition) = &found.kind.definition else {
            let row = self.rows.of_thread(thread);
            return drawing.instant(&self.rows, row, ns, found, 0);
        };
        match definition.role {
            Role::Instant | Role::Log => {
                let row = self.rows.of_thread(thread);
                drawing.instant(&self.rows, row, ns, found, 0)
            }
            Role::Flow => {
                let row = self.rows.of_thread(thread);
                let flow = number_of(&[found.event.generation, found.event.kind.into(), key(found)]);
                drawing.instant(&self.rows, row, ns, found, flow)
            }
            Role::Begin => {
                let row = self.rows.of_thread(thread);
                drawing.begin(&self.rows, row, ns, found)
            }
            Role::End => {
                let row = self.rows.of_thread(thread);
                drawing.end(&self.rows, row, ns, Some(found))
            }
            Role::Complete => {
                let row = self.rows.of_thread(thread);
                let lasted = duration(found);
                drawing.begin(&self.rows, row, ns.saturating_sub(lasted), found)?;
                drawing.end(&self.rows, row, ns, None)
            }
            Role::Counter => {
                for (at, (field, value)) in definition.values(found.event.payload).enumerate() {
                    if let Some(value) = value
                        && field.field_type.is_number()
                        && definition.key_field != Some(at)
                    {
                        let row = self.rows.of_counter(thread, found, at);
                        drawing.number(&self.rows, row, ns, value)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The nanoseconds that a complete event has lasted.
fn duration(found: &Found<'_>) -> u64 {
    let definition = found.kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.duration_field?));
    match field.and_then(|field| field.value(found.event.payload)) {
        Some(Value::Unsigned(ns)) => ns,
        Some(Value::Signed(ns)) => ns.max(0).unsigned_abs(),
        _ => 0,
    }
}

/// What tells one flow from others of its kind.
fn key(found: &Found<'_>) -> u64 {
    let definition = found.kind.definition.as_ref();
    let field = definition.and_then(|definition| definition.fields.get(definition.key_field?));
    match field.and_then(|field| field.bytes(found.event.payload)) {
        Some(bytes) => places::number_of_text(1, bytes),
        None => found.event.correlation_id,
    }
}
