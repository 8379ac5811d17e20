//! The options of a storage, checked.

use crate::subject::{self, Template};
use std::time::Duration;

/// How to prove to the server who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    User {
        user: String,
        password: String,
    },
    Token(String),
    Nkey(String),
    /// The content of a file with a JWT and a seed.
    Credentials(String),
}

/// The files of TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    pub required: bool,
    /// Before the server's greeting.
    pub first: bool,
    pub ca_file: Option<String>,
    /// The client's certificate and its key.
    pub client: Option<(String, String)>,
}

/// What is wanted of a stream that this library makes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub replicas: u32,
    pub in_memory: bool,
    pub discard_new: bool,
    pub duplicate_window: Duration,
    pub max_bytes: u64,
    pub max_messages: u64,
    pub max_age: Duration,
}

/// All options.
#[derive(Clone, Debug)]
pub struct Options {
    pub servers: Vec<async_nats::ServerAddr>,
    pub name: String,
    pub login: Login,
    pub tls: Tls,
    pub stream: String,
    /// Make the stream if it is not there.
    pub create: Option<Limits>,
    pub subject: Template,
    pub facts_prefix: String,
    pub per_event: bool,
    pub start_offline: bool,
    pub encoding: u32,
    pub ack_timeout: Duration,
    pub connect_timeout: Duration,
    pub reconnect_max: Duration,
    /// The pipeline's, for a comparison with the stream's duplicate window.
    pub retry_max_age: Duration,
    pub pending_messages: usize,
    pub pending_bytes: usize,
}

/// Reads the field `servers`: addresses with commas between them.
pub fn servers(text: &str) -> Result<Vec<async_nats::ServerAddr>, String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        if part.is_empty() {
            return Err(
                "servers: an empty address; expected host:port, or nats://host:port, with commas between"
                    .into(),
            );
        }
        let address: async_nats::ServerAddr =
            part.parse().map_err(|error| format!("servers: \"{}\": {error}", without_password(part)))?;
        if !matches!(address.scheme(), "nats" | "tls") || address.host().is_empty() {
            return Err(format!(
                "servers: \"{}\": expected host:port, nats://host:port or tls://host:port",
                without_password(part)
            ));
        }
        all.push(address);
    }
    Ok(all)
}

/// An address as it may be shown.
pub fn without_password(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, rest)| rest)
}

/// Checks the name of a stream.
pub fn stream(name: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
    if name.is_empty() || name.len() > 200 || !name.chars().all(fine) {
        return Err(format!(
            "stream: 1 to 200 printable characters without . * > / \\ expected, \"{name}\" given"
        ));
    }
    Ok(name.to_owned())
}

/// Checks the first part of the subjects of facts.
pub fn facts_prefix(text: &str) -> Result<String, String> {
    subject::check(text).map_err(|what| format!("facts_prefix: {what} in \"{text}\""))?;
    Ok(text.to_owned())
}

impl Options {
    /// The subjects that the stream must have: those of events, and those of facts.
    pub fn patterns(&self) -> [String; 2] {
        [self.subject.pattern(), format!("{}.facts.>", self.facts_prefix)]
    }

    /// What is wrong with a stream that forgets messages before their batches are given up.
    pub fn complaint_about(&self, window: Duration) -> Option<String> {
        let longest = self.retry_max_age.saturating_add(self.ack_timeout);
        (!self.retry_max_age.is_zero() && window < longest).then(|| {
            format!(
                "the duplicate window of the stream {} is {} ms, and a batch may be tried again for {} ms (retry_max_age_ms and ack_timeout_ms): its events may be stored twice. Make the window longer, or retry_max_age_ms shorter",
                self.stream,
                window.as_millis(),
                longest.as_millis()
            )
        })
    }

    /// The servers, for messages.
    pub fn shown_servers(&self) -> String {
        let all: Vec<_> =
            self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        all.join(", ")
    }
}
