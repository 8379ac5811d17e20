//! The thread of a storage. It alone talks to the server: it takes batches from the writers, publishes their messages, and answers the batches when the
//! server has acknowledged them.
//!
//! A batch stays in the ring buffers until then. Nothing is kept here but what is on its way, within the pending bound. A batch that is
//! not acknowledged in time is answered with RETRY, behind what is stored of it, and comes again.

mod answers;
mod facts;
mod publish;
mod publish_facts;
mod state;

use crate::abi::{PIPELINE_LOG_INFO, PIPELINE_LOG_WARN, PIPELINE_STORE_RETRY};
use crate::attempt::Attempt;
use crate::pipeline;
use crate::status::State;
use crate::stream;
use async_nats::{Event, Message};
use facts::Facts;
use futures_util::{FutureExt, StreamExt};
use state::Look;
pub use state::{Job, Worker};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two looks at a stream that is not as it must be.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the thread is woken by.
enum Wake {
    Ack(Message),
    Job(Option<Job>),
    Event(Event),
    Look(Look),
    Time,
}

impl Worker {
    /// The stream has been looked at already.
    pub fn stream_is_known(&mut self, found: stream::Facts) {
        self.connected = true;
        self.looked(Ok(found));
    }

    /// Works until it is told to stop.
    pub async fn run(&mut self) {
        loop {
            let timer = self.next_time();
            let wake = tokio::select! {
                biased;
                Some(message) = self.acks.next() => Wake::Ack(message),
                Some(event) = self.events.recv() => Wake::Event(event),
                Some(look) = self.looks.1.recv() => Wake::Look(look),
                job = self.jobs.recv() => Wake::Job(job),
                () = async { tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)).await }, if timer.is_some() => Wake::Time,
            };
            if !self.woken(wake) {
                return;
            }
            // What has come meanwhile is taken before anything is published.
            while let Some(Some(message)) = self.acks.next().now_or_never() {
                self.acknowledged(&message);
            }
            while let Ok(job) = self.jobs.try_recv() {
                if !self.job(job) {
                    return;
                }
            }
            self.expire();
            self.look_if_due();
            self.pump().await;
            self.show_pending();
        }
    }

    /// `false`: the thread ends.
    fn woken(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Ack(message) => self.acknowledged(&message),
            Wake::Event(event) => self.event(&event),
            Wake::Look(look) => self.looked(look),
            Wake::Job(job) => return job.is_some_and(|job| self.job(job)),
            Wake::Time => {}
        }
        true
    }

    fn job(&mut self, job: Job) -> bool {
        match job {
            Job::Store(batch) => {
                let earlier = self.plans.remove(&batch.key()).unwrap_or_default();
                let deadline = Instant::now() + self.options.ack_timeout;
                self.attempts.insert(self.next_attempt, Attempt::new(batch, deadline, earlier));
                self.next_attempt += 1;
            }
            Job::Forget(key) => drop(self.plans.remove(&key)),
            Job::Stop => return false,
        }
        true
    }

    /// When something is due although nothing comes.
    fn next_time(&self) -> Option<Instant> {
        // Attempts have the same time limit, so the oldest is due first.
        let attempt = self.attempts.first_key_value().map(|(_, attempt)| attempt.deadline);
        attempt.into_iter().chain(self.look_at).min()
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.last_ack = Instant::now();
                let info = self.client.server_info();
                let server = format!("{}:{}", info.host, info.port);
                let again = self.status.read().connects > 0;
                // The stream has been looked at before the thread began to work.
                let known = !again && self.stream.is_some();
                self.status.write(|status| {
                    status.connects += 1;
                    status.server.clone_from(&server);
                    if !known {
                        status.text.clear();
                    }
                });
                if again {
                    pipeline::log(PIPELINE_LOG_INFO, &format!("connected to {server}"));
                }
                if !known {
                    // The stream may be another one, and the limits may be others.
                    self.look_at = Some(Instant::now());
                }
            }
            Event::Disconnected | Event::Closed => self.disconnected(),
            Event::ServerError(error) => self.complain(format!("the server says: {error}")),
            _ => {}
        }
    }

    fn disconnected(&mut self) {
        if self.connected {
            pipeline::log(
                PIPELINE_LOG_WARN,
                &format!("the connection to {} is lost", self.status.read().server),
            );
        }
        self.connected = false;
        self.status.write(|status| status.state = State::Disconnected);
        self.withdraw();
    }

    /// Nothing counts as being on its way any more. It is published again, under the same ids.
    fn withdraw(&mut self) {
        for sent in self.attempts.values_mut().flat_map(|attempt| &mut attempt.messages) {
            sent.in_flight = None;
        }
        (self.pending_messages, self.pending_bytes) = (0, 0);
        self.open_from = 0;
        self.facts.values_mut().for_each(Facts::withdraw);
    }

    fn look_if_due(&mut self) {
        if !self.connected || self.look_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.look_at = None;
        let (client, options, answer) =
            (self.client.clone(), Arc::clone(&self.options), self.looks.0.clone());
        tokio::spawn(async move {
            let _ = answer.send(stream::find(&client, &options).await);
        });
    }

    /// The stream has been looked at.
    fn looked(&mut self, look: Look) {
        match look {
            Ok(found) => {
                if self.made.replace(found.made).is_some_and(|made| made != found.made) {
                    // It is another stream of this name, which has nothing of what the former one had.
                    self.facts.clear();
                }
                self.stream = Some(found);
                self.open_from = 0;
                if let Some(words) = self.options.complaint_about(found.duplicate_window) {
                    self.complain(words);
                }
                let max = self.client.max_payload();
                self.status.write(|status| {
                    status.duplicate_window_ms = found.duplicate_window.as_millis() as u64;
                    status.max_payload = found.max_message.map_or(max, |own| own.min(max)) as u64;
                    if self.connected {
                        status.state = State::Ready;
                    }
                });
            }
            Err(words) => {
                if self.stream.take().is_some() {
                    self.withdraw();
                }
                if self.connected {
                    self.status.write(|status| status.state = State::NoStream);
                    self.look_at = Some(Instant::now() + LOOK_AGAIN);
                }
                self.complain(words);
            }
        }
    }

    /// The stream is not what it was taken for.
    fn doubt_the_stream(&mut self) {
        if self.look_at.is_none() {
            self.look_at = Some(Instant::now());
        }
    }

    /// Says what is wrong, once for each new reason.
    fn complain(&mut self, words: String) {
        if self.status.read().text != words {
            pipeline::log(PIPELINE_LOG_WARN, &words);
            self.status.write(|status| status.text = words);
        }
    }

    /// Answers the attempts whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<u64> = self
            .attempts
            .iter()
            .take_while(|(_, attempt)| attempt.deadline <= now)
            .map(|(&order, _)| order)
            .collect();
        if late.is_empty() {
            return;
        }
        self.status.write(|status| status.timeouts += late.len() as u64);
        for order in late {
            self.answer(order, PIPELINE_STORE_RETRY);
        }
        self.facts.values_mut().for_each(Facts::withdraw);
        // A server that has said nothing for so long is not there any more, whatever the connection looks like.
        let silent = now.duration_since(self.last_ack) >= self.options.ack_timeout;
        if self.connected && self.stream.is_some() && silent {
            self.last_ack = now;
            self.complain(format!(
                "no acknowledgement within ack_timeout_ms ({} ms) from {}",
                self.options.ack_timeout.as_millis(),
                self.status.read().server
            ));
            let client = self.client.clone();
            tokio::spawn(async move { client.force_reconnect().await });
        }
    }

    fn show_pending(&self) {
        self.status.write(|status| {
            status.pending_messages = self.pending_messages as u64;
            status.pending_bytes = self.pending_bytes as u64;
        });
    }
}

impl Drop for Worker {
    /// Every batch is answered, also if a panic ends the thread.
    fn drop(&mut self) {
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            self.job(job);
        }
        while let Some((&order, _)) = self.attempts.first_key_value() {
            self.answer(order, PIPELINE_STORE_RETRY);
        }
    }
}
