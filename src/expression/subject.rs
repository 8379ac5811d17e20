//! What an expression asks of an event.

use super::own::Own;

/// What an expression asks of an event.
pub trait Subject {
    /// The payload.
    fn payload(&self) -> &[u8];
    /// A number that every event has. `None`: this one does not have it, or it is no integer.
    fn number(&self, own: Own) -> Option<u64>;
    /// How many events it stands for.
    fn weight(&self) -> f64;
    /// The name of its thread.
    fn thread_name(&self) -> Option<&[u8]>;
}
