//! The journal storage with real directories: every acknowledged event is read back, the limits hold, and failures lose nothing.

#[path = "journal_storage/support.rs"]
mod support;

#[path = "journal_storage/contents.rs"]
mod contents;

#[path = "journal_storage/limits.rs"]
mod limits;

#[path = "journal_storage/failures.rs"]
mod failures;

#[path = "journal_storage/hostile.rs"]
mod hostile;

#[path = "journal_storage/sync.rs"]
mod sync;
