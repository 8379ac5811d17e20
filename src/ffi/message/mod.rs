//! Messages for C: events as blocks of a journal, for a transport.

pub mod encode;
pub mod read;
pub mod structs;
