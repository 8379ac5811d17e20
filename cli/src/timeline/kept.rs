//! Events that are kept for later.

use crate::journal::Found;
use crate::kinds::Kind;
use capture_pipeline::journal::reader::Event;

/// So much of a payload is kept. A field behind it is absent later.
const MOST: usize = 1_024;

/// An event, without what its reader lends.
#[derive(Debug)]
pub struct Kept {
    event: Event<'static>,
    kind_at: usize,
    payload: Vec<u8>,
}

impl Kept {
    /// Keeps an event. `payload`: a buffer to use.
    pub fn new(found: &Found<'_>, mut payload: Vec<u8>) -> Self {
        payload.clear();
        payload.extend_from_slice(&found.event.payload[..found.event.payload.len().min(MOST)]);
        Self { event: Event { payload: &[], ..*found.event }, kind_at: found.kind_at, payload }
    }

    /// Shows the event as it was found.
    pub fn show<'a, R>(
        &self,
        kind_of: impl FnOnce(usize) -> Option<&'a Kind>,
        show: impl FnOnce(&Found<'_>) -> R,
    ) -> Option<R> {
        let kind = kind_of(self.kind_at)?;
        let event = Event { payload: &self.payload, ..self.event };
        Some(show(&Found { event: &event, kind, kind_at: self.kind_at, thread: None }))
    }

    /// Its buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.payload
    }
}
