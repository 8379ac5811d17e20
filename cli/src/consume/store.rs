//! The thread that reads messages and stores them.

use super::check::{self, Refusal, Said};
use super::target::{Kept, Target};
use crate::deliver::place::Place;
use crate::failure::Failure;
use async_nats::HeaderMap;
use bytes::Bytes;
use capture_pipeline::journal::message::Reader;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A message as it came.
#[derive(Clone)]
pub struct Incoming {
    /// Its headers.
    pub headers: Option<HeaderMap>,
    /// Its body.
    pub body: Bytes,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, with so many events.
    Stored(u64),
    /// It is not one of ours, damaged, or contradicts what is stored. This is why.
    Bad(String),
}

/// Messages to store, and where the verdicts go.
struct Group {
    messages: Vec<Incoming>,
    answer: oneshot::Sender<Result<Vec<Verdict>, Failure>>,
}

/// The thread.
pub struct Storing {
    groups: mpsc::Sender<Group>,
    thread: JoinHandle<Result<(), Failure>>,
}

/// Messages are stored before their events take more memory than this.
const MOST_DECODED: usize = 32 << 20;
/// The memory that reading one message may take: enough for an event of 64 MiB, the largest that a server passes.
const MEMORY: u64 = 512 << 20;
/// The time until what could not be stored is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Storing {
    /// Starts the thread, which opens the target.
    pub async fn start(place: &Place) -> Result<Self, Failure> {
        let (groups, mut waiting) = mpsc::channel::<Group>(1);
        let (opened, open) = oneshot::channel();
        let place = place.clone();
        let run = move || {
            let mut target = match Target::open(&place) {
                Ok(target) => target,
                Err(failure) => {
                    let _ = opened.send(Err(failure));
                    return Ok(());
                }
            };
            let _ = opened.send(Ok(()));
            let mut readers = Vec::new();
            while let Some(group) = waiting.blocking_recv() {
                let done = store(&mut target, &mut readers, &group.messages, || group.answer.is_closed());
                let _ = group.answer.send(done);
            }
            target.close()
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(run);
        let thread = thread.map_err(|error| Failure::new(format!("no thread can be started: {error}")))?;
        let failed = || Failure::new("the thread that stores has ended");
        open.await.map_err(|_| failed())??;
        Ok(Self { groups, thread })
    }

    /// Stores messages, in their order. It tries until that succeeds, unless it is dropped.
    pub async fn store(&self, messages: Vec<Incoming>) -> Result<Vec<Verdict>, Failure> {
        let (answer, verdicts) = oneshot::channel();
        let failed = || Failure::new("the thread that stores has ended");
        self.groups.send(Group { messages, answer }).await.map_err(|_| failed())?;
        verdicts.await.map_err(|_| failed())?
    }

    /// Ends the thread, and closes the target.
    pub fn close(self) -> Result<(), Failure> {
        drop(self.groups);
        self.thread.join().map_err(|_| Failure::new("the thread that stores has failed"))?
    }
}

/// Stores a group. `given_up`: nobody waits for it any more.
fn store(
    target: &mut Target,
    readers: &mut Vec<Reader>,
    messages: &[Incoming],
    given_up: impl Fn() -> bool,
) -> Result<Vec<Verdict>, Failure> {
    let mut verdicts = vec![None; messages.len()];
    let (mut taken, mut decoded) = (Vec::new(), 0);
    for (number, message) in messages.iter().enumerate() {
        if readers.len() == taken.len() {
            readers.push(Reader::new(MEMORY)?.without_facts());
        }
        let reader = &mut readers[taken.len()];
        match check::take(reader, &Said::of(message.headers.as_ref()), &message.body) {
            Ok(summary) => {
                decoded += reader.decoded_bytes();
                taken.push((number, summary.events));
            }
            Err(Refusal::Bad(why)) => verdicts[number] = Some(Verdict::Bad(why)),
            Err(Refusal::NoMemory(why)) => return Err(Failure::new(why)),
        }
        if decoded > MOST_DECODED {
            store_taken(target, readers, messages, std::mem::take(&mut taken), &mut verdicts, &given_up)?;
            readers.clear();
            decoded = 0;
        }
    }
    store_taken(target, readers, messages, taken, &mut verdicts, &given_up)?;
    let stored = |verdict: Option<Verdict>| verdict.unwrap_or(Verdict::Stored(0));
    Ok(verdicts.into_iter().map(stored).collect())
}

/// Messages by their numbers, each with its events. The readers have taken them, in this order.
type TakenMessages = Vec<(usize, u64)>;

/// Stores messages until all of them are.
fn store_taken(
    target: &mut Target,
    readers: &[Reader],
    messages: &[Incoming],
    taken: TakenMessages,
    verdicts: &mut [Option<Verdict>],
    given_up: impl Fn() -> bool,
) -> Result<(), Failure> {
    let mut told = false;
    let mut taken: Vec<(&Reader, usize, u64)> =
        readers.iter().zip(taken).map(|(reader, (number, events))| (reader, number, events)).collect();
    while !taken.is_empty() {
        let given: Vec<(&Reader, &[u8])> =
            taken.iter().map(|(reader, number, _)| (*reader, &messages[*number].body[..])).collect();
        let kept = target.store(&given)?;
        let mut left = Vec::new();
        for ((reader, number, events), kept) in taken.into_iter().zip(kept) {
            verdicts[number] = match kept {
                Kept::All => Some(Verdict::Stored(events)),
                Kept::Refused(refused) => Some(Verdict::Bad(format!(
                    "the target refuses {refused} of its {events} events: another event is stored under the same identity, or it cannot be stored; the others are stored"
                ))),
                Kept::NotNow => {
                    left.push((reader, number, events));
                    None
                }
            };
        }
        taken = left;
        if taken.is_empty() {
            break;
        }
        if given_up() {
            return Err(Failure::new(
                "the target does not store at present; nothing that it has not stored is acknowledged",
            ));
        }
        if !std::mem::replace(&mut told, true) {
            crate::messages::tell("the target does not store at present; trying again each second");
        }
        std::thread::sleep(AGAIN);
    }
    Ok(())
}
