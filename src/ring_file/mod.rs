//! Ring buffers in a file, so that what was captured outlives the process.
//!
//! One run of a pipeline with `ring_dir` has one file, `GENERATION.rings`. The run maps it shared, and its ring buffers lie in it: their memory, and the words that say
//! what of it is committed. Another process reads the file by `pread`: to recover what a dead run has left, to take a snapshot, or to show what a run does.
//! [`format`] is how the file is laid out; `docs/format.md` specifies the same. [`view`] shows the words of a
//! file without its records.

pub mod format;
mod place;
pub mod reader;
pub mod run_file;
pub mod start;
pub mod view;
