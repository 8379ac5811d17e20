//! What the user has chosen to see.

use crate::top::args::Key;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Chosen {
    /// What is looked at, in words.
    pub subject: String,
    /// From one look to the next.
    pub interval: Duration,
    /// What is sorted by.
    pub key: Key,
    /// The pipeline whose writers and ring buffers are shown. `None`: the first one.
    pub generation: Option<u64>,
    /// How many of its ring buffers are passed over.
    pub rings_above: usize,
}
