//! The reader of journals for C.

mod handle;
pub mod info;
pub mod kinds;
pub mod next;
pub mod open;
pub(super) mod structs;
pub(super) mod text;
