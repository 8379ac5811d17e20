//! What a pool knows of its permits for calls of the storage.

/// See the head of the file. [`shares`](super::super::shares) gives the permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// Other pipelines know of this one.
    pub member: bool,
    /// The calls that other pipelines were told of.
    pub told: u32,
    /// There is work for another call, and no permit.
    pub waits: bool,
    /// How often it has begun to wait.
    pub waited: u64,
}
