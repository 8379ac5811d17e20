//! The formats of other programs: how their bytes are made, whoever writes them and from where.

pub mod nest;
pub mod perfetto;
mod protobuf;
