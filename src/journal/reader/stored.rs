//! The events as they are stored, segment after segment.

use super::core::{Core, Part};
use super::stretch::Stretch;
use crate::status::Result;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub stretch: Stretch,
}

/// Larger buffers are not kept.
const KEEP: usize = 8 << 20;

impl Stored {
    /// Goes to the next event. `false`: there is none.
    #[inline]
    pub fn advance(&mut self, core: &mut Core) -> Result<bool> {
        if self.stretch.go_on() {
            return Ok(true);
        }
        self.refill(core)
    }

    #[cold]
    fn refill(&mut self, core: &mut Core) -> Result<bool> {
        while core.index.next < core.index.places.len() {
            self.stretch.shrink(KEEP);
            core.load(core.index.next, &mut self.stretch, Part::default())?;
            core.index.next += 1;
            if self.stretch.go_on() {
                return Ok(true);
            }
        }
        self.stretch.clear();
        Ok(false)
    }
}
