//! Clocks: converting the processor's counter to time.

pub mod piece;
pub mod timeline;
