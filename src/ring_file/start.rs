//! What a run's ring file is made from.

use super::format::Shape;

/// What a run's file is made from.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// `pipeline_config_t.ring_dir`.
    pub directory: &'a str,
    /// Whether the directory may be on a disk.
    pub may_be_on_disk: bool,
    /// The run.
    pub generation: u64,
    /// The rings.
    pub shape: Shape,
    /// Whether the processor's counter stamps records.
    pub in_ticks: bool,
    /// The pipeline's name.
    pub name: &'a str,
    /// `pipeline_config_t.max_rings`, for messages.
    pub max_rings: u32,
}
