//! The journal's files: their [`format`], the [`reader`], and a [`segment`] that is being written. `docs/format.md` specifies the format; the storage that writes it is `storage::journal`. A [`message`] carries the same
//! [`blocks`] over a transport.

pub mod blocks;
pub mod format;
pub mod live_figures;
pub mod message;
pub mod owner;
pub mod reader;
pub mod segment;
