//! `consume`: stores the events of a stream of NATS JetStream, each once.
//!
//! The client and its runtime work on the command's first thread. Another one reads messages and stores them, so that a slow target does not keep the client from
//! answering its server. A message is acknowledged when its events are stored to stay; after a crash the server gives it again, and the target knows the events by their
//! identities.

pub mod args;
mod check;
mod connect;
mod dead;
mod facts;
mod run;
mod store;
mod stream;
mod target;

use crate::failure::{Failure, Outcome};
use args::Consume;

/// Consumes.
pub fn run(args: &Consume) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(format!("the client's runtime cannot be started: {error}")))?;
    runtime.block_on(run::consume(args))
}
