//! The official client of NATS by itself: what the storage is compared with. It runs on one thread, as the storage's does.
//!
//!     nats_peer SERVER single STREAM EVENTS     publishes that many messages of 64 bytes, asynchronously
//!     nats_peer SERVER copy FROM STREAM         publishes the messages of the stream FROM again, into STREAM, with their headers
//!
//! Each prints the messages, their bytes and the seconds from the first publication to the last acknowledgement.

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use std::error::Error;
use std::future::IntoFuture;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// So many messages, and so many bytes of them, wait for their acknowledgement at most: the storage's defaults.
const PENDING_MESSAGES: usize = 4096;
const PENDING_BYTES: usize = 64 << 20;
const EVENT_BYTES: usize = 64;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    match words[..] {
        [server, "single", name, events] => runtime.block_on(single(server, name, events.parse()?)),
        [server, "copy", from, name] => runtime.block_on(copy(server, from, name)),
        _ => Err("nats_peer SERVER single STREAM EVENTS | nats_peer SERVER copy FROM STREAM".into()),
    }
}

async fn connect(server: &str) -> Result<(Client, Context)> {
    let client = async_nats::connect(server).await?;
    let mut context = jetstream::new(client.clone());
    context.set_timeout(std::time::Duration::from_secs(60));
    Ok((client, context))
}

async fn make(context: &Context, name: &str) -> Result<()> {
    let subjects = vec![format!("{name}.>")];
    context.create_stream(stream::Config { name: name.into(), subjects, ..Default::default() }).await?;
    Ok(())
}

async fn single(server: &str, name: &str, events: u64) -> Result<()> {
    let (_client, context) = connect(server).await?;
    make(&context, name).await?;
    let subject = format!("{name}.event");
    let messages = (0..events).map(|n| {
        let mut payload = vec![0; EVENT_BYTES];
        payload[..8].copy_from_slice(&n.to_le_bytes());
        // An id of each message, as the storage's have.
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{n}"));
        (subject.clone(), headers, Bytes::from(payload))
    });
    publish(&context, messages).await
}

async fn copy(server: &str, from: &str, name: &str) -> Result<()> {
    let (_client, context) = connect(server).await?;
    make(&context, name).await?;
    let source = context.get_stream(from).await?;
    let count = source.cached_info().state.messages as usize;
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        ..Default::default()
    };
    let consumer = source.create_consumer(config).await?;
    let mut all = Vec::with_capacity(count);
    let mut coming = consumer.messages().await?;
    while all.len() < count {
        let message = coming.next().await.ok_or("the stream has ended")??;
        let mut headers = message.headers.clone().unwrap_or_default();
        if headers.get("Nats-Expected-Stream").is_some() {
            headers.insert("Nats-Expected-Stream", name);
        }
        all.push((format!("{name}.{}", message.subject), headers, message.payload.clone()));
    }
    drop(coming);
    publish(&context, all.into_iter()).await
}

async fn publish(
    context: &Context,
    messages: impl Iterator<Item = (String, HeaderMap, Bytes)>,
) -> Result<()> {
    let mut waiting: std::collections::VecDeque<(usize, PublishAckFuture)> = Default::default();
    let (mut count, mut bytes, mut pending) = (0_u64, 0_u64, 0);
    let began = Instant::now();
    for (subject, headers, payload) in messages {
        let len = payload.len();
        while waiting.len() >= PENDING_MESSAGES || pending + len > PENDING_BYTES && !waiting.is_empty() {
            if let Some((len, acknowledged)) = waiting.pop_front() {
                acknowledged.into_future().await?;
                pending -= len;
            }
        }
        count += 1;
        bytes += len as u64;
        pending += len;
        waiting.push_back((len, context.publish_with_headers(subject, headers, payload).await?));
    }
    for (_, acknowledged) in waiting {
        acknowledged.into_future().await?;
    }
    println!("{count} {bytes} {:.6}", began.elapsed().as_secs_f64());
    Ok(())
}
