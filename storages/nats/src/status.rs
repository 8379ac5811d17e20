//! What is known of a storage from outside: its connection, its stream, its counts.

use std::sync::{Mutex, PoisonError};

/// The state of the connection and of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No server is connected.
    #[default]
    Disconnected = 0,
    /// A server is connected, and the stream takes messages.
    Ready = 1,
    /// A server is connected, and the stream is not known yet, is missing, or is not as it must be.
    NoStream = 2,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub state: State,
    pub connects: u64,
    pub published: u64,
    pub acknowledged: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub timeouts: u64,
    pub too_large: u64,
    pub pending_messages: u64,
    pub pending_bytes: u64,
    pub max_payload: u64,
    pub duplicate_window_ms: u64,
    /// `host:port` of the connected server, or of the one that was.
    pub server: String,
    /// What is wrong, or empty.
    pub text: String,
}

/// The status as the thread of the storage keeps it for others.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Status>);

impl Shared {
    pub fn read(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn write(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
