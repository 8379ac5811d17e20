//! How a batch is cut into messages. That is decided once, when a message is first encoded, and kept while the batch is tried again, because a
//! message's id is that of its first event, and one id must always stand for the same events.

use crate::pipeline::Identity;
use std::collections::VecDeque;

/// A message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first event, by which the message is found again in a later attempt.
    pub first: Identity,
    /// Where that event was in the batch at its first attempt: the last part of the message's id.
    pub index: usize,
    /// How many events.
    pub count: usize,
    /// The server has acknowledged it.
    pub stored: bool,
}

/// The messages of a batch, in order.
#[derive(Debug, Default)]
pub struct Plan {
    cuts: VecDeque<Cut>,
    /// Where the first event that is in no message yet was in the batch at its first attempt.
    pub next_index: usize,
}

impl Plan {
    /// Puts messages in front of the others.
    pub fn with_first(mut self, cuts: impl Iterator<Item = Cut>) -> Self {
        let mut all: VecDeque<Cut> = cuts.collect();
        all.append(&mut self.cuts);
        Self { cuts: all, ..self }
    }

    /// Puts what is left of a message in front, because the message did not fit as it was.
    pub fn put_back(&mut self, cut: Cut) {
        self.cuts.push_front(cut);
    }

    /// The message that begins with this event, as an earlier attempt has cut it. Those before it are settled, and forgotten.
    pub fn take(&mut self, first: Identity) -> Option<Cut> {
        let at = self.cuts.iter().position(|cut| cut.first == first)?;
        self.cuts.drain(..at);
        self.cuts.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Identity, Plan};

    fn cut(sequence: u64, index: usize, count: usize) -> Cut {
        Cut { first: Identity { ring_id: 1, sequence }, index, count, stored: false }
    }

    #[test]
    fn a_later_attempt_finds_its_messages_behind_a_stored_prefix() {
        let plan = Plan { next_index: 9, ..Plan::default() };
        let mut plan = plan.with_first([cut(10, 0, 5), cut(20, 5, 3), cut(30, 8, 1)].into_iter());
        assert_eq!(plan.next_index, 9);
        assert_eq!(plan.take(Identity { ring_id: 1, sequence: 20 }), Some(cut(20, 5, 3)));
        assert_eq!(plan.take(Identity { ring_id: 2, sequence: 30 }), None);
        assert_eq!(plan.take(Identity { ring_id: 1, sequence: 10 }), None);
        assert_eq!(plan.take(Identity { ring_id: 1, sequence: 30 }), Some(cut(30, 8, 1)));
        assert_eq!(plan.take(Identity { ring_id: 1, sequence: 30 }), None);
    }
}
