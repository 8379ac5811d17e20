//! The SQLite storage against real databases: what is stored, what is stored once, what happens when something breaks.
#![cfg(any(feature = "sqlite", feature = "sqlite-system"))]

#[path = "sqlite/support.rs"]
mod support;

#[path = "sqlite/contents.rs"]
mod contents;

#[path = "sqlite/bounds.rs"]
mod bounds;

#[path = "sqlite/input.rs"]
mod input;

#[path = "sqlite/life.rs"]
mod life;

#[path = "sqlite/trouble.rs"]
mod trouble;
