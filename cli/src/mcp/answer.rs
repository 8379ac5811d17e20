//! Answers: JSON, of which there is never too much.

use crate::failure::Failure;
use crate::journal::Found;
use crate::line::Json;
use capture_pipeline::journal::reader::Event;
use serde_json::Value;
use std::cell::Cell;

/// An answer with a list has about so many bytes: clients hold up to 10 MiB, and some take ever longer for each further one.
pub const MOST_BYTES: usize = 1 << 20;
/// One event takes at most so many.
const MOST_OF_EVENT: usize = MOST_BYTES / 4;
/// So much is shown of a payload whose event would take more.
const SHOWN_OF_PAYLOAD: usize = 1_024;
/// Cancellation is looked for after so many events.
const LOOK_EVERY: u32 = 256;

/// What a request that was cancelled ends with. The client does not get it.
pub fn cancelled() -> Failure {
    Failure::new("the request was cancelled")
}

/// Looks now and then whether a request was cancelled.
pub struct Watch<'a> {
    stopped: &'a dyn Fn() -> bool,
    count: Cell<u32>,
}

impl<'a> Watch<'a> {
    /// Asks this.
    pub fn new(stopped: &'a dyn Fn() -> bool) -> Self {
        Self { stopped, count: Cell::new(0) }
    }

    /// Fails if the request was cancelled. It is called for every event.
    pub fn look(&self) -> Result<(), Failure> {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        if count.is_multiple_of(LOOK_EVERY) && (self.stopped)() { Err(cancelled()) } else { Ok(()) }
    }
}

/// An answer that no other bound has kept small.
pub fn bounded(text: String) -> Result<String, Failure> {
    if text.len() <= 2 * MOST_BYTES {
        return Ok(text);
    }
    Err(Failure::new(format!(
        "the answer would have {} bytes, and {} are the most; ask for less: one journal, one run",
        text.len(),
        2 * MOST_BYTES
    )))
}

/// A number of 64 bits: JavaScript would round it.
pub fn number(number: u64) -> Value {
    Value::String(number.to_string())
}

/// A generation.
pub fn generation(generation: u64) -> Value {
    Value::String(format!("{generation:016x}"))
}

/// Bytes that should be a text.
pub fn text(bytes: &[u8]) -> Value {
    Value::String(String::from_utf8_lossy(bytes).into_owned())
}

/// A wall time.
pub fn time(ns: u64) -> Value {
    text(&capture_pipeline::wall_time::write(ns))
}

/// Appends the JSON of an event. The payload is there if the fields are not, or if it has another length than they say.
fn write(json: &mut Vec<u8>, found: Found<'_>) {
    let payload = Some(!found.kind.fits(found.event.payload));
    Json { strings: true, wide: true, payload, attributes: false }.write(json, found);
}

/// The JSON of an event, without a line end. Of one that is too large the beginning is shown.
pub fn event(found: Found<'_>) -> Vec<u8> {
    let mut json = Vec::new();
    // A byte takes up to six characters, so that the length of the JSON is looked at as well.
    if found.event.payload.len() <= MOST_OF_EVENT {
        write(&mut json, found);
        json.pop();
        if json.len() <= MOST_OF_EVENT {
            return json;
        }
    }
    json.clear();
    let shown = found.event.payload.len().min(SHOWN_OF_PAYLOAD);
    let cut = Event { payload: &found.event.payload[..shown], ..*found.event };
    write(&mut json, Found { event: &cut, ..found });
    json.truncate(json.len() - 2);
    let size = found.event.payload.len();
    json.extend_from_slice(format!(",\"payload_bytes\":{size},\"is_cut\":true}}").as_bytes());
    json
}

/// A list of values that are JSON already.
pub struct List {
    json: Vec<u8>,
    /// How many there are.
    pub count: u64,
}

impl List {
    /// An answer with a list of this name.
    pub fn new(name: &str) -> Self {
        Self { json: format!("{{\"{name}\":[").into_bytes(), count: 0 }
    }

    /// Adds a value, if there is room for it. The first one always is.
    pub fn add(&mut self, value: &[u8]) -> bool {
        if self.count > 0 && self.json.len() + value.len() > MOST_BYTES {
            return false;
        }
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.push(b'\n');
        self.json.extend_from_slice(value);
        self.count += 1;
        true
    }

    /// The answer, with these beside the list.
    pub fn finish(mut self, others: &[(&str, Value)]) -> String {
        self.json.push(b']');
        for (name, value) in others {
            self.json.extend_from_slice(format!(",\n\"{name}\":{value}").as_bytes());
        }
        self.json.push(b'}');
        String::from_utf8_lossy(&self.json).into_owned()
    }
}
