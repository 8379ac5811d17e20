//! Chrome's JSON: a list of trace events, which many viewers open.
//!
//! A time is a double of microseconds there, and a reader drops slices that overlap by a rounding. So times count from the day before the first event: until 104 days
//! later every nanosecond is exact. The list is an array, which loads even if it is cut.

mod events;

use super::Exporter;
use super::pieces::Pieces;
use crate::damage::some;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::messages::tell;
use crate::timeline::Timeline;
use events::Events;

/// See the module.
pub struct Chrome {
    timeline: Timeline,
    events: Events,
}

impl Chrome {
    /// Writes to these files.
    pub fn new(pieces: Pieces, journal: &Journal, payload: Option<bool>) -> Self {
        Self { timeline: Timeline::new(journal), events: Events::new(pieces, payload) }
    }

    #[cold]
    fn split(&mut self, ns: u64) -> Result<(), Failure> {
        self.timeline.pause(ns, &mut self.events)?;
        self.events.next_file(ns)?;
        self.timeline.resume(ns, &mut self.events)
    }
}

impl Exporter for Chrome {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        if self.events.is_split() {
            let ns = self.timeline.time(&found);
            if self.events.ends_before(ns) {
                self.split(ns)?;
            }
        }
        self.timeline.add(&found, &mut self.events)?;
        self.events.write_some()
    }

    fn skip(&mut self, found: Found<'_>) -> Result<(), Failure> {
        self.timeline.skip(&found, &mut self.events)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.timeline.finish(&mut self.events)?;
        self.events.finish()?;
        if let Some(left_out) = some(self.timeline.too_late, "event is", "events are") {
            tell(format_args!("{left_out} left out: viewers take no times of 2^63 ns and more"));
        }
        Ok(())
    }
}
