//! The stream: found or made, and checked. A stream that is there is never changed.

use crate::options::{Limits, Options};
use crate::subject::covers;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode, context::GetStreamErrorKind};
use std::time::Duration;

/// What the storage must know of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The largest message that the stream takes, headers included. `None`: it has no limit of its own.
    pub max_message: Option<usize>,
    pub duplicate_window: Duration,
    /// When it was made, in nanoseconds since 1970. Another stream of the name has another time.
    pub made: i128,
}

/// Finds the stream, or makes it if the options say so. An error names what is wrong, and what to do.
pub async fn find(client: &async_nats::Client, options: &Options) -> Result<Facts, String> {
    let mut js = jetstream::new(client.clone());
    js.set_timeout(options.ack_timeout);
    let name = &options.stream;
    let info = match js.get_stream(name).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                let Some(limits) = &options.create else {
                    return Err(format!(
                        "stream: there is no stream {name} on {}. Make it with the subjects {} (nats stream add), or set PIPELINE_NATS_CREATE_STREAM",
                        options.shown_servers(),
                        options.patterns().join(" and ")
                    ));
                };
                let made = js.create_stream(wanted(options, limits)).await;
                made.map_err(|error| format!("stream: {name} cannot be made: {error}"))?.cached_info().clone()
            }
            GetStreamErrorKind::JetStream(error) => return Err(format!("stream: {name}: {error}")),
            GetStreamErrorKind::Request => {
                return Err(format!(
                    "stream: {name}: {}. Is JetStream on at {}, and may this user publish to $JS.API.STREAM.INFO.{name}?",
                    chain(&error),
                    options.shown_servers()
                ));
            }
            _ => return Err(format!("stream: {name}: {error}")),
        },
    };
    let config = &info.config;
    check(config, options)?;
    Ok(Facts {
        made: info.created.unix_timestamp_nanos(),
        max_message: usize::try_from(config.max_message_size).ok().filter(|&max| max > 0),
        duplicate_window: config.duplicate_window,
    })
}

fn wanted(options: &Options, limits: &Limits) -> Config {
    // 0 means no limit here, and −1 on the wire.
    let or_none = |limit: u64| if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(i64::MAX) };
    Config {
        name: options.stream.clone(),
        subjects: options.patterns().to_vec(),
        description: Some("events of capture_pipeline".to_owned()),
        max_bytes: or_none(limits.max_bytes),
        max_messages: or_none(limits.max_messages),
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: -1,
        max_age: limits.max_age,
        duplicate_window: limits.duplicate_window,
        num_replicas: limits.replicas as usize,
        storage: if limits.in_memory { StorageType::Memory } else { StorageType::File },
        discard: if limits.discard_new { DiscardPolicy::New } else { DiscardPolicy::Old },
        ..Config::default()
    }
}

/// Whether events can be stored in a stream of this configuration, and whether it is what the options ask for.
fn check(config: &Config, options: &Options) -> Result<(), String> {
    let name = &options.stream;
    if config.mirror.is_some() {
        return Err(format!(
            "stream: {name} is a mirror, which nobody can publish to. Name the stream that it mirrors"
        ));
    }
    if config.sealed {
        return Err(format!("stream: {name} is sealed: it takes no more messages. Name another stream"));
    }
    if config.no_ack {
        return Err(format!(
            "stream: {name} acknowledges nothing (no_ack), so no event would ever count as stored. Name another stream"
        ));
    }
    for pattern in options.patterns() {
        if !config.subjects.iter().any(|subject| covers(subject, &pattern)) {
            return Err(format!(
                "stream: {name} has the subjects {}, and {pattern} is not among them. Add it to the stream (nats stream edit), or change the fields subject and facts_prefix",
                config.subjects.join(", ")
            ));
        }
    }
    if let Some(limits) = &options.create {
        let found = [
            ("replicas", config.num_replicas as u64, u64::from(limits.replicas)),
            ("in memory", u64::from(config.storage == StorageType::Memory), u64::from(limits.in_memory)),
            ("discard new", u64::from(config.discard == DiscardPolicy::New), u64::from(limits.discard_new)),
            ("max_bytes", limit(config.max_bytes), limits.max_bytes),
            ("max_messages", limit(config.max_messages), limits.max_messages),
            ("max_age_ms", config.max_age.as_millis() as u64, limits.max_age.as_millis() as u64),
            (
                "duplicate_window_ms",
                config.duplicate_window.as_millis() as u64,
                limits.duplicate_window.as_millis() as u64,
            ),
        ];
        for (field, has, asked) in found {
            if has != asked {
                return Err(format!(
                    "stream: {name} is there, with {field} {has}; the options ask for {asked}. Nothing is changed in a stream that is there: give the same value, or leave out PIPELINE_NATS_CREATE_STREAM"
                ));
            }
        }
    }
    Ok(())
}

fn limit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// An error with its causes, once each.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
