//! An event as the rules see it.

use crate::event::PIPELINE_EVENT_OPAQUE;
use crate::expression::{Own, Subject};

/// An event that is offered: what is known of it before it is captured.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its kind.
    pub kind: u32,
    /// `PIPELINE_EVENT_…`.
    pub flags: u32,
    /// Its trace; 0: none.
    pub correlation_id: u64,
    /// Its place in the program; 0: none.
    pub node_id: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

impl Event<'_> {
    /// Whether nobody but its program and storage may look into the payload.
    #[inline]
    pub fn is_opaque(&self) -> bool {
        self.flags & PIPELINE_EVENT_OPAQUE != 0
    }
}

impl Subject for Event<'_> {
    #[inline]
    fn payload(&self) -> &[u8] {
        if self.is_opaque() { &[] } else { self.payload }
    }

    #[inline]
    fn number(&self, own: Own) -> Option<u64> {
        Some(match own {
            Own::NodeId => self.node_id,
            Own::CorrelationId => self.correlation_id,
            Own::PayloadBytes => self.payload.len() as u64,
            Own::Kind => self.kind.into(),
            Own::Flags => self.flags.into(),
            _ => return None,
        })
    }

    fn weight(&self) -> f64 {
        1.0
    }

    fn thread_name(&self) -> Option<&[u8]> {
        None
    }
}
