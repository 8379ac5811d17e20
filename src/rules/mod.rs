//! What an event that is offered meets before room for it is looked for: sampling.
//!
//! The [`Judge`] gives each offer a [`Verdict`] while its producer's busy word is held. It is asked only while there is something to decide. Then a bit of the
//! doorbell's word sends all captures to the slow path. Otherwise a capture does not know of it.

mod judge;
mod sampling;
mod traces;
mod verdict;

pub use judge::Judge;
pub use sampling::{MAX_WEIGHT, Sampling};
pub use verdict::{Fate, Verdict};
