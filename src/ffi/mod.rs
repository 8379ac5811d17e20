//! The C ABI: every exported function, and no logic. `make header` generates `include/capture_pipeline.h` from here, from
//! `config::fields` and from `metrics`.

pub mod capture;
pub mod config;
pub mod control;
pub mod exposition;
pub mod extend;
pub mod fast;
mod guard;
pub mod kinds;
pub mod log;
pub mod many;
pub mod message;
mod offer;
pub mod pressure;
pub mod reader;
pub mod recover;
pub mod reserve;
pub mod rules;
mod sized;
pub mod snapshot;
pub mod storage;
pub mod storage_journal;
pub mod storage_perfetto;
pub mod storage_sqlite;
mod target;
pub mod transform;
pub mod version;
