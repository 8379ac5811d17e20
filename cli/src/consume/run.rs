//! The way of messages: fetched, stored, acknowledged.

use super::args::Consume;
use super::check::Said;
use super::connect::{causes, connect};
use super::dead::DeadLetters;
use super::facts::Facts;
use super::store::{Incoming, Storing, Verdict};
use super::stream;
use crate::deliver::place::Place;
use crate::failure::{Failure, Outcome};
use crate::messages;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::{self, AckKind, Context, Message};
use futures_util::StreamExt;
use std::io::IsTerminal;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// At most so many messages, and so many bytes of them, are stored at once; but one of any size is.
const MOST_MESSAGES: usize = 256;
const MOST_BYTES: usize = 8 << 20;
/// What a server counts of a message beside what it limits by `max_payload`: its subjects.
const HEADERS: usize = 64 << 10;
/// The longest wait of the server for messages, and the time until it is asked again after a failure.
const WAIT: Duration = Duration::from_secs(1);
/// With `--once`, a server that is away for longer ends the command.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Default)]
struct Counts {
    messages: u64,
    events: u64,
    bad: u64,
    /// Messages that the server still has for this consumer, at the last look.
    pending: u64,
}

/// Consumes until it is told to stop, or with `--once` until everything is stored.
pub async fn consume(args: &Consume) -> Result<Outcome, Failure> {
    let mut stop = Stop::new()?;
    let client = connect(args).await?;
    let context = jetstream::new(client.clone());
    let (consumer, filters) = stream::consumer(&context, args).await?;
    let dead = match &args.dead_letter {
        Some(subject) => Some(DeadLetters::on(&context, subject, &args.stream, &filters).await?),
        None => None,
    };
    let storing = Storing::start(&args.to).await?;
    let most_bytes = MOST_BYTES.max(client.server_info().max_payload + HEADERS);
    let ack_wait = consumer.cached_info().config.ack_wait;
    let mut work = Work {
        args,
        context,
        consumer,
        dead,
        storing,
        most_bytes,
        ack_wait: if ack_wait.is_zero() { Duration::from_secs(30) } else { ack_wait },
        facts: Facts::default(),
        counts: Counts::default(),
        shown: Instant::now(),
    };
    let done = work.all(&mut stop).await;
    let Work { storing, counts, consumer, .. } = work;
    // Acknowledgements are on their way.
    let flushed = tokio::time::timeout(Duration::from_secs(10), client.flush()).await;
    let pending = match tokio::time::timeout(Duration::from_secs(10), consumer.get_info()).await {
        Ok(Ok(info)) => info.num_pending + info.num_ack_pending as u64,
        _ => counts.pending,
    };
    let closed = storing.close();
    if !args.quiet {
        let Counts { messages, events, bad, .. } = counts;
        messages::tell(format!(
            "{events} events in {messages} messages are stored, {bad} messages were not, {pending} are still to be stored"
        ));
    }
    done?;
    closed?;
    if !matches!(flushed, Ok(Ok(()))) {
        messages::tell(
            "the last acknowledgements may not have arrived: the server will give some messages again",
        );
    }
    Ok(if counts.bad > 0 { Outcome::Damaged } else { Outcome::Well })
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let on =
            |kind| signal(kind).map_err(|error| Failure::new(format!("signals cannot be awaited: {error}")));
        Ok(Self { term: on(SignalKind::terminate())?, int: on(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

struct Work<'a> {
    args: &'a Consume,
    context: Context,
    consumer: PullConsumer,
    dead: Option<DeadLetters>,
    storing: Storing,
    most_bytes: usize,
    ack_wait: Duration,
    facts: Facts,
    counts: Counts,
    shown: Instant,
}

impl Work<'_> {
    async fn all(&mut self, stop: &mut Stop) -> Result<(), Failure> {
        let mut away_since: Option<Instant> = None;
        loop {
            let fetched = tokio::select! {
                () = stop.asked() => return Ok(()),
                fetched = self.fetch() => fetched,
            };
            let (group, failed) = fetched;
            if let Some(why) = failed {
                let since = *away_since.get_or_insert_with(|| {
                    messages::tell(format!("no messages come from the server: {why}; trying again"));
                    Instant::now()
                });
                self.check_stream(&why).await?;
                if self.args.once && since.elapsed() > PATIENCE {
                    return Err(Failure::new(format!("no messages come from the server: {why}")));
                }
                tokio::select! {
                    () = stop.asked() => return Ok(()),
                    () = tokio::time::sleep(WAIT / 4) => {}
                }
            } else {
                away_since = None;
            }
            if group.is_empty() {
                if away_since.is_none() && self.args.once && self.is_done().await {
                    return Ok(());
                }
                continue;
            }
            // A group that was fetched is stored and acknowledged, unless the target does not store.
            tokio::select! {
                done = self.group(&group) => done?,
                () = async { stop.asked().await; tokio::time::sleep(PATIENCE).await } => {
                    return Err(Failure::new("the target does not store; nothing that it has not stored is acknowledged"));
                }
            }
            self.show();
        }
    }

    /// Messages, and why there are no more.
    async fn fetch(&self) -> (Vec<Message>, Option<String>) {
        let batch =
            self.consumer.fetch().max_messages(MOST_MESSAGES).max_bytes(self.most_bytes).expires(WAIT);
        let mut batch = match batch.messages().await {
            Ok(batch) => batch,
            Err(error) => return (Vec::new(), Some(causes(&error))),
        };
        let mut group = Vec::new();
        while let Some(message) = batch.next().await {
            match message {
                Ok(message) => group.push(message),
                Err(error) => {
                    let why = error.to_string();
                    return (group, Some(why));
                }
            }
        }
        (group, None)
    }

    /// Stores a group and acknowledges it.
    async fn group(&mut self, group: &[Message]) -> Result<(), Failure> {
        let mut incoming = Vec::new();
        let mut fetched = 0;
        for message in group {
            let said = Said::of(message.headers.as_ref());
            for facts in self.facts.needed(&self.context, &said).await {
                incoming.insert(fetched, facts);
                fetched += 1;
            }
            incoming.push(Incoming { headers: message.headers.clone(), body: message.payload.clone() });
        }
        let verdicts = self.store(incoming, group).await?;
        for verdict in &verdicts[..fetched] {
            if let Verdict::Bad(why) = verdict {
                messages::tell(format!("facts about events are not used: {why}"));
            }
        }
        for (message, verdict) in group.iter().zip(&verdicts[fetched..]) {
            match verdict {
                Verdict::Stored(events) => {
                    self.counts.messages += 1;
                    self.counts.events += events;
                }
                Verdict::Bad(why) => self.bad(message, why).await?,
            }
            // An acknowledgement that is lost makes the server give the message again.
            let _ = message.ack().await;
        }
        if let Some(info) = group.last().and_then(|message| message.info().ok()) {
            self.counts.pending = info.pending;
        }
        Ok(())
    }

    /// Stores, and tells the server meanwhile that it goes on.
    async fn store(&self, incoming: Vec<Incoming>, group: &[Message]) -> Result<Vec<Verdict>, Failure> {
        let storing = self.storing.store(incoming);
        tokio::pin!(storing);
        let mut again = tokio::time::interval(self.ack_wait / 3);
        again.tick().await;
        loop {
            tokio::select! {
                done = &mut storing => return done,
                _ = again.tick() => {
                    for message in group {
                        let _ = message.ack_with(AckKind::Progress).await;
                    }
                }
            }
        }
    }

    /// A message that is not stored, or not all of it.
    async fn bad(&mut self, message: &Message, why: &str) -> Result<(), Failure> {
        let which = match message.info() {
            Ok(info) => {
                format!("message {} of stream {} ({})", info.stream_sequence, info.stream, message.subject)
            }
            Err(_) => format!("a message ({})", message.subject),
        };
        self.counts.bad += 1;
        match &self.dead {
            Some(dead) => {
                messages::tell(format!(
                    "{which}: {why}; it goes to {}",
                    self.args.dead_letter.as_deref().unwrap_or("")
                ));
                dead.publish(&self.context, message, why).await
            }
            None if self.args.skip => {
                messages::tell(format!("{which}: {why}; it is left out"));
                Ok(())
            }
            None => Err(Failure::new(format!(
                "{which}: {why}; it is not acknowledged. --dead-letter SUBJECT moves such messages elsewhere, --skip leaves them out"
            ))),
        }
    }

    /// Whether everything is stored and acknowledged.
    async fn is_done(&self) -> bool {
        match self.consumer.get_info().await {
            Ok(info) => info.num_pending == 0 && info.num_ack_pending == 0,
            Err(_) => false,
        }
    }

    /// Ends the command if the stream or the consumer is gone.
    async fn check_stream(&self, why: &str) -> Result<(), Failure> {
        let error = match self.consumer.get_info().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if !matches!(error.kind(), ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound) {
            return Ok(());
        }
        let (stream, durable) = (&self.args.stream, &self.args.durable);
        Err(Failure::new(format!(
            "stream {stream}, consumer {durable}: {} ({why}); what was acknowledged is stored",
            causes(&error)
        )))
    }

    /// Shows on a terminal how far it has come.
    fn show(&mut self) {
        let is_shown = !self.args.quiet
            && std::io::stderr().is_terminal()
            && !(self.args.to == Place::Ndjson(None) && std::io::stdout().is_terminal());
        if !is_shown || self.shown.elapsed() < WAIT {
            return;
        }
        self.shown = Instant::now();
        let Counts { events, messages, pending, .. } = self.counts;
        let line = format!("\r\x1b[K{events} events in {messages} messages stored, {pending} messages to go");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
