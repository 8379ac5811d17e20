//! The C ABI: every exported function, and no logic. `include/capture_pipeline.h` is generated from here.

pub mod capture;
pub mod config;
pub mod control;
pub mod fast;
mod guard;
pub mod log;
pub mod many;
mod offer;
mod sized;
pub mod storage;
pub mod storage_sqlite;
pub mod types;
pub mod version;
