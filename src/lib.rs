//! Captures events at the price of a copy and gets every one of them to a storage.
//!
//! The way of an event, top to bottom: [`event`] → [`ring`] (its producer side copies it in) → a claim → [`batch`] →
//! [`writer`] → [`storage`] → settled, and its space released; the [`ledger`] accounts for it. The [`pool`] keeps the
//! writers going, the [`manager`] is what a program holds, [`ffi`] is the same for C.

#[cfg(not(loom))]
pub mod batch;
#[cfg(not(loom))]
pub mod config;
#[cfg(not(loom))]
pub mod event;
#[cfg(not(loom))]
pub mod ffi;
#[cfg(not(loom))]
pub mod latency;
#[cfg(not(loom))]
pub mod ledger;
#[cfg(not(loom))]
pub mod manager;
pub mod platform;
#[cfg(not(loom))]
pub mod pool;
pub mod ring;
pub mod status;
#[cfg(not(loom))]
pub mod storage;
#[cfg(not(loom))]
pub mod timeline;
#[cfg(not(loom))]
pub mod writer;
