//! How long sampling has dropped no event.

/// Since when sampling has dropped no event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    since_ns: u64,
    dropped: u64,
}

impl Quiet {
    /// So many events were dropped until now. Returns for how long that has been so.
    pub fn note(&mut self, dropped: u64, now_ns: u64) -> u64 {
        if dropped != self.dropped || self.since_ns == 0 {
            *self = Self { since_ns: now_ns, dropped };
        }
        now_ns.saturating_sub(self.since_ns)
    }
}
