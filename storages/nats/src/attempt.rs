//! An attempt of a batch: its messages, and which of them the server has.

use crate::pipeline::Pending;
use crate::plan::{Cut, Plan};
use tokio::time::Instant;

/// A message of an attempt.
pub struct Sent {
    pub cut: Cut,
    /// Where its first event is in the attempt.
    pub at: usize,
    /// The number under which its acknowledgement comes, also if it is published again.
    pub ack: u64,
    /// Its bytes, while it is published and not acknowledged.
    pub in_flight: Option<usize>,
}

/// A batch that has been given to `store`, and is not answered yet.
pub struct Attempt {
    pub batch: Pending,
    pub deadline: Instant,
    /// The first event that is neither in a message nor rejected.
    pub position: usize,
    pub messages: Vec<Sent>,
    /// How many of them the server does not have.
    pub missing: usize,
    /// So many facts must be stored before the batch is.
    pub schema: u64,
    /// What an earlier attempt has cut and this one has not reached.
    pub earlier: Plan,
}

impl Attempt {
    pub fn new(batch: Pending, deadline: Instant, earlier: Plan) -> Self {
        Self { batch, deadline, position: 0, messages: Vec::new(), missing: 0, schema: 0, earlier }
    }

    /// Whether every event is in a message that the server has, or rejected.
    pub fn is_stored(&self) -> bool {
        self.missing == 0 && self.position == self.batch.count()
    }

    /// The first message that is not with the server and not on its way.
    pub fn unsent(&self) -> Option<usize> {
        if self.missing == 0 {
            return None;
        }
        self.messages.iter().position(|sent| !sent.cut.stored && sent.in_flight.is_none())
    }

    /// How many events at the beginning are settled.
    pub fn stored_prefix(&self) -> usize {
        let first = self.messages.iter().find(|sent| !sent.cut.stored);
        first.map_or(self.position, |sent| sent.at)
    }

    /// The cuts for the next attempt, which begins behind the stored prefix.
    pub fn into_plan(self) -> Plan {
        let behind = self.messages.into_iter().map(|sent| sent.cut).skip_while(|cut| cut.stored);
        self.earlier.with_first(behind)
    }
}
