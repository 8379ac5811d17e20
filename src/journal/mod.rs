//! The journal's files: their [`format`], and the [`reader`]. `docs/format.md` specifies the format; the storage that writes it is `storage::journal`.

pub mod format;
pub mod live_figures;
pub mod owner;
pub mod reader;
