//! What is decided about an offer.

use super::ruling::Ranges;

/// Where an offer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Into a ring buffer, if there is room.
    Keep,
    /// Nowhere: sampled out.
    SampleOut,
    /// Nowhere: a rule drops it.
    Drop,
}

/// What sampling decides about an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where the offer goes.
    pub fate: Fate,
    /// As [`Verdict::weight`].
    pub weight: u32,
    /// As [`Verdict::flags`].
    pub flags: u32,
}

impl Decision {
    /// It is kept as it is.
    pub const KEEP: Self = Self { fate: Fate::Keep, weight: 1, flags: 0 };
}

/// What is decided about an offer. It refers to nothing, so a capture that waits for room may keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where the offer goes.
    pub fate: Fate,
    /// How many offers it stands for if it is kept: at most [`MAX_WEIGHT`](super::MAX_WEIGHT), so that a record's weight has the exact number.
    pub weight: u32,
    /// Flags that the event gets beside its own, `PIPELINE_EVENT_...`.
    pub flags: u32,
    /// What is zeroed in the copy of its payload.
    pub redact: Ranges,
}

impl Verdict {
    /// It is kept as it is.
    pub const KEEP: Self = Self { fate: Fate::Keep, weight: 1, flags: 0, redact: Ranges::NONE };

    /// Takes over what sampling has decided.
    #[inline(always)]
    pub(super) fn decide(&mut self, decision: Decision) {
        (self.fate, self.weight) = (decision.fate, decision.weight);
        self.flags |= decision.flags;
    }
}
