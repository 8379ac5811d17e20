//! A storage for capture_pipeline that publishes to a stream of NATS JetStream. docs/nats.md is for its users.
//!
//! The way of a batch: a writer gives it to [`ffi`]'s `store`, which passes it to the one thread ([`thread`], [`worker`]) and answers PENDING. The thread
//! cuts it into messages ([`plan`], [`attempt`]), encodes them by libcapture_pipeline's own functions ([`pipeline`], [`abi`]), gives them their headers and
//! their subject ([`headers`], [`subject`]), and publishes them by the official client ([`connection`]). When the server has acknowledged all of them, it
//! completes the batch.
//!
//! It uses the public C interface of libcapture_pipeline and nothing else of it.

mod abi;
mod attempt;
mod connection;
pub mod ffi;
mod headers;
mod options;
mod pipeline;
mod plan;
mod status;
mod stream;
mod subject;
mod thread;
mod worker;

/// The tests' one copy of libcapture_pipeline.
#[cfg(test)]
extern crate capture_pipeline as _;
