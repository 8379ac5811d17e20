//! What the thread of a storage knows.

use super::facts::Facts;
use crate::attempt::Attempt;
use crate::headers::Naming;
use crate::options::Options;
use crate::pipeline::{Encoder, Pending};
use crate::plan::Plan;
use crate::status::Shared;
use crate::stream;
use async_nats::{Client, Event, Subscriber};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// What others ask of the thread.
pub enum Job {
    Store(Pending),
    /// The batch is given up: its cuts are of no use any more.
    Forget((u64, u64)),
    Stop,
}

/// The state of the thread.
pub struct Worker {
    pub(super) options: Arc<Options>,
    pub(super) status: Arc<Shared>,
    pub(super) client: Client,
    pub(super) acks: Subscriber,
    pub(super) inbox: String,
    pub(super) naming: Naming,
    pub(super) encoder: Encoder,
    pub(super) jobs: UnboundedReceiver<Job>,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) looks: (UnboundedSender<Look>, UnboundedReceiver<Look>),
    pub(super) look_at: Option<Instant>,
    pub(super) connected: bool,
    pub(super) stream: Option<stream::Facts>,
    /// When the stream was made that has the facts.
    pub(super) made: Option<i128>,
    pub(super) attempts: BTreeMap<u64, Attempt>,
    pub(super) next_attempt: u64,
    /// No attempt before this one has anything to publish.
    pub(super) open_from: u64,
    pub(super) by_ack: HashMap<u64, (u64, usize)>,
    pub(super) next_ack: u64,
    pub(super) plans: HashMap<(u64, u64), Plan>,
    pub(super) facts: HashMap<u64, Facts>,
    pub(super) pending_messages: usize,
    pub(super) pending_bytes: usize,
    pub(super) scratch: Vec<u8>,
    pub(super) last_ack: Instant,
}

pub(super) type Look = Result<stream::Facts, String>;

impl Worker {
    #[expect(clippy::too_many_arguments, reason = "they are made in one place and belong to this one")]
    pub fn new(
        options: Arc<Options>,
        status: Arc<Shared>,
        client: Client,
        acks: Subscriber,
        inbox: String,
        nonce: u128,
        encoder: Encoder,
        jobs: UnboundedReceiver<Job>,
        events: UnboundedReceiver<Event>,
    ) -> Self {
        Self {
            naming: Naming::new(nonce, &options.stream, &options.facts_prefix),
            options,
            status,
            client,
            acks,
            inbox,
            encoder,
            jobs,
            events,
            looks: tokio::sync::mpsc::unbounded_channel(),
            look_at: None,
            connected: false,
            stream: None,
            made: None,
            attempts: BTreeMap::new(),
            next_attempt: 0,
            open_from: 0,
            by_ack: HashMap::new(),
            next_ack: 0,
            plans: HashMap::new(),
            facts: HashMap::new(),
            pending_messages: 0,
            pending_bytes: 0,
            scratch: Vec::new(),
            last_ack: Instant::now(),
        }
    }
}

/// What the server says of a message.
pub(super) enum Answer {
    /// It has it; `again`: it had it already.
    Stored { again: bool },
    /// Nobody has heard it: the stream is gone, or has other subjects, or the server is not ready.
    Unheard,
    /// It does not take it.
    Refused { too_large: bool, words: String },
}
