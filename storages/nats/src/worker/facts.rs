//! The facts of pipelines: names and definitions of kinds, attributes, clocks. They have a subject of their own, and are stored before the batches that
//! need them count as stored.

/// What the stream has of a generation's facts. They are numbered, and are published in parts.
#[derive(Debug, Default)]
pub struct Facts {
    /// The first fact of the last part. A part that is full is never published again, the last one is when there are more.
    pub(super) part: usize,
    /// So many are stored.
    pub(super) stored: usize,
    /// So many are needed.
    pub(super) wanted: usize,
    pub(super) on_the_way: Option<Part>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) ack: u64,
    pub(super) count: usize,
    /// More did not fit.
    pub(super) full: bool,
}

impl Facts {
    /// What is on its way does not count any more.
    pub fn withdraw(&mut self) {
        self.on_the_way = None;
    }
}
