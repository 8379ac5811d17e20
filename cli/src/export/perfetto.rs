//! Perfetto: a trace of track events, which ui.perfetto.dev and `trace_processor` open.

mod trace;

use super::Exporter;
use super::pieces::Pieces;
use crate::damage::some;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use crate::messages::tell;
use crate::timeline::Timeline;
use trace::Trace;

/// See the module.
pub struct Perfetto {
    timeline: Timeline,
    trace: Trace,
}

impl Perfetto {
    /// Writes to these files.
    pub fn new(pieces: Pieces, journal: &Journal, payload: Option<bool>, compresses: bool) -> Self {
        Self { timeline: Timeline::new(journal), trace: Trace::new(pieces, payload, compresses) }
    }

    /// Goes on in another file before an event of this time.
    #[cold]
    fn split(&mut self, ns: u64) -> Result<(), Failure> {
        self.timeline.pause(ns, &mut self.trace)?;
        self.trace.next_file(ns)?;
        self.timeline.resume(ns, &mut self.trace)
    }
}

impl Exporter for Perfetto {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        if self.trace.is_split() {
            let ns = self.timeline.time(&found);
            if self.trace.ends_before(ns) {
                self.split(ns)?;
            }
        }
        self.timeline.add(&found, &mut self.trace)?;
        self.trace.write_some()
    }

    fn skip(&mut self, found: Found<'_>) -> Result<(), Failure> {
        self.timeline.skip(&found, &mut self.trace)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.timeline.finish(&mut self.trace)?;
        self.trace.finish()?;
        if let Some(left_out) = some(self.timeline.too_late, "event is", "events are") {
            tell(format_args!("{left_out} left out: viewers take no times of 2^63 ns and more"));
        }
        Ok(())
    }
}
