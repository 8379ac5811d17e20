//! The SQLite storage with real databases: every event is stored once, the limits hold, and failures lose nothing.
#![cfg(any(feature = "sqlite", feature = "sqlite-system"))]

#[path = "sqlite/support.rs"]
mod support;

#[path = "sqlite/contents.rs"]
mod contents;

#[path = "sqlite/kinds.rs"]
mod kinds;

#[path = "sqlite/limits.rs"]
mod limits;

#[path = "sqlite/age.rs"]
mod age;

#[path = "sqlite/space.rs"]
mod space;

#[path = "sqlite/hostile.rs"]
mod hostile;

#[path = "sqlite/input.rs"]
mod input;

#[path = "sqlite/lifecycle.rs"]
mod lifecycle;

#[path = "sqlite/finish.rs"]
mod finish;

#[path = "sqlite/failures.rs"]
mod failures;
