//! The options of the SQLite storage, their defaults and their limits.

use crate::status::{Error, PIPELINE_ERR_INVALID, Result};

/// The durability of a commit (`PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Never waits for the disk.
    Off,
    /// Waits for the disk at checkpoints and at a flush. A crash of the process loses nothing. A power loss may lose the commits
    /// since then, and never damages the database.
    Normal,
    /// Waits for the disk at each commit, so that acknowledged events have reached it.
    Full,
}

impl Synchronous {
    /// The pragma's value.
    pub(super) fn pragma(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Normal => "NORMAL",
            Self::Full => "FULL",
        }
    }
}

/// What happens to new events when the limit of `max_bytes` or `min_free_disk` is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The oldest events are deleted to make space.
    DeleteOldest,
    /// The new events are rejected.
    Reject,
}

/// The options of a SQLite storage.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes that the database and its write-ahead log may take; 0: no limit.
    pub max_bytes: u64,
    /// Milliseconds after which an event is deleted, counted from when it was stored; 0: never.
    pub max_age_ms: u64,
    /// Bytes that must stay free on the database's file system; 0: no limit.
    pub min_free_disk: u64,
    /// The durability of a commit.
    pub synchronous: Synchronous,
    /// What happens when `max_bytes` or `min_free_disk` is reached.
    pub on_full: OnFull,
    /// The least time between two commits of few events, in microseconds.
    pub commit_interval_us: u32,
    /// The number of events at which a transaction is committed, even if more wait.
    pub commit_events: u32,
    /// The longest wait for another process that holds the database's lock, in milliseconds.
    pub busy_timeout_ms: u32,
    /// SQLite's page cache, in KiB.
    pub cache_kib: u32,
    /// Whether the indexes are made when the storage ends.
    pub indexes: bool,
    /// The permission bits of new files, regardless of the process's umask.
    pub file_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 0,
            max_age_ms: 0,
            min_free_disk: 0,
            synchronous: Synchronous::Normal,
            on_full: OnFull::DeleteOldest,
            commit_interval_us: 1_000,
            commit_events: 4_096,
            busy_timeout_ms: 5_000,
            cache_kib: 2_048,
            indexes: true,
            file_mode: 0o600,
        }
    }
}

/// The smallest `max_bytes`. Below it the write-ahead log would take most of the space.
pub const MIN_MAX_BYTES: u64 = 4 << 20;
/// The largest value of an option in bytes: 128 TiB, half of SQLite's own limit.
pub const MAX_BYTES: u64 = 1 << 47;
/// The largest `max_age_ms`: a hundred years.
pub const MAX_AGE_MS: u64 = 100 * 365 * 86_400_000;

impl Options {
    /// Checks every limit.
    pub fn validate(&self) -> Result<()> {
        if self.max_bytes != 0 && !(MIN_MAX_BYTES..=MAX_BYTES).contains(&self.max_bytes) {
            return Err(refuse("max_bytes", format!("0 or {MIN_MAX_BYTES} to {MAX_BYTES}"), self.max_bytes));
        }
        within("max_age_ms", self.max_age_ms, 0, MAX_AGE_MS)?;
        within("min_free_disk", self.min_free_disk, 0, MAX_BYTES)?;
        within("commit_interval_us", self.commit_interval_us.into(), 0, 1_000_000)?;
        within("commit_events", self.commit_events.into(), 1, 1_000_000)?;
        within("busy_timeout_ms", self.busy_timeout_ms.into(), 0, 60_000)?;
        within("cache_kib", self.cache_kib.into(), 256, 1 << 20)?;
        // The owner must be able to read and write, because the storage does both.
        if self.file_mode & !0o666 != 0 || self.file_mode & 0o600 != 0o600 {
            let given = format_args!("{:#o}", self.file_mode).to_string();
            return Err(refuse("file_mode", "0600 and any of 0066 (octal)", given));
        }
        Ok(())
    }
}

fn within(field: &str, given: u64, low: u64, high: u64) -> Result<()> {
    if (low..=high).contains(&given) { Ok(()) } else { Err(refuse(field, format!("{low} to {high}"), given)) }
}

/// The error of a field that is out of its limits.
pub(crate) fn refuse(field: &str, allowed: impl std::fmt::Display, given: impl std::fmt::Display) -> Error {
    Error::new(
        PIPELINE_ERR_INVALID,
        format!("pipeline_sqlite_options_t.{field}: {allowed} allowed, {given} given"),
    )
}
