//! What an event is captured through: a pipeline, which has a producer for each thread, or a producer's handle.

use crate::capture::Offer;
use crate::manager::{Pipeline, Producer};

/// A pipeline, or a producer.
pub(super) trait Target {
    /// What the last error says if it is NULL.
    const NULL: &'static str;

    fn forked(&self) -> bool;

    fn max_event_bytes(&self) -> usize;

    /// The producer that the calling thread uses, if it has one yet.
    fn producer(&self) -> Option<&Producer>;

    /// Captures an event, or counts why not.
    ///
    /// # Safety
    /// As for [`Producer::capture`].
    unsafe fn capture(&self, offer: &Offer) -> i32;

    fn count_invalid(&self);
}

macro_rules! target {
    ($type:ty, $null:literal, $self:ident, $producer:expr) => {
        impl Target for $type {
            const NULL: &'static str = $null;

            #[inline(always)]
            fn forked(&self) -> bool {
                self.forked()
            }

            fn max_event_bytes(&self) -> usize {
                self.max_event_bytes()
            }

            #[inline(always)]
            fn producer(&$self) -> Option<&Producer> {
                $producer
            }

            #[inline(always)]
            unsafe fn capture(&self, offer: &Offer) -> i32 {
                // SAFETY: passed on.
                unsafe { self.capture(offer) }
            }

            fn count_invalid(&self) {
                self.count_invalid();
            }
        }
    };
}

target!(Pipeline, "the pipeline is NULL", self, self.producer());
target!(Producer, "the producer is NULL", self, Some(self));
