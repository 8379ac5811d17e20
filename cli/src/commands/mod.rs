//! The commands, but for `export`.

pub mod cat;
pub mod ls;
pub mod pages;
pub mod stat;
pub mod table;
pub mod tail;
pub mod verify;
