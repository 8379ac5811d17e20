//! The connection to the database. [`connection`] opens it, and begins and ends transactions; [`rows`] stores events through it; [`wal`]
//! looks after its write-ahead log; [`moved_files`] keeps acknowledged events when its files were moved.

mod connection;
mod moved_files;
mod rows;
mod wal;

pub(super) use connection::Db;
pub(super) use rows::Refused;
