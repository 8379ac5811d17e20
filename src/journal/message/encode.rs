//! From events and facts to messages.

use super::SALT;
use crate::batch::BatchView;
use crate::event::{EventView, PIPELINE_KIND_RESERVED, PIPELINE_KIND_THREAD};
use crate::facts::Facts;
use crate::journal::blocks::facts::{self, FactRef};
use crate::journal::blocks::views::{self, Cuts, Need};
use crate::journal::blocks::{Blocks, NoMemory};
use crate::journal::format::block::{BlockType, SIZE};
use crate::journal::format::checksum::Salted;
use crate::journal::format::columns;
use crate::journal::format::record::stride;
use crate::journal::format::{MAX_RAW_BODY, aligned};

/// A message ends where less than this part of its room is left, so that its last blocks are not small ones.
const FULL: usize = 4;

/// A message that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The run of the pipeline.
    pub generation: u64,
    /// The blocks of events: stretches of one ring each. 0: a message of facts.
    pub stretches: u32,
    /// The ring of its first event.
    pub ring_id: u64,
    /// The sequence of its first event, or the number of its first fact.
    pub first_sequence: u64,
    /// Its events, or its facts.
    pub count: usize,
    /// Its bytes.
    pub len: usize,
}

/// Why nothing was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEncoded {
    /// There is nothing more.
    Nothing,
    /// The first event takes so many bytes alone.
    TooLarge(usize),
    /// The first event can be in no message.
    Refused(&'static str),
    /// There is not enough memory at the moment.
    NoMemory,
}

impl From<NoMemory> for NotEncoded {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// Makes messages, one after another, and keeps its memory.
#[derive(Default)]
pub struct Encoder {
    codec: Option<u8>,
    threads: bool,
    generation: u64,
    facts: Blocks,
    events: Blocks,
    columns: columns::Encoder,
}

/// A thread's id, and its name padded with zeros.
type Thread = (u32, [u8; 16]);

/// What is put together, and the limit.
struct Room<'a> {
    codec: Option<u8>,
    columns: &'a mut columns::Encoder,
    size: usize,
}

impl Room<'_> {
    /// Ends the open block, in columns if that is wanted.
    fn end(&mut self, blocks: &mut Blocks) -> Result<(), NoMemory> {
        if let Some(codec) = self.codec {
            blocks.encode(self.columns, codec)?;
        }
        blocks.end();
        Ok(())
    }

    /// The bytes of records that a raw block may have behind so many bytes.
    fn left(&self, used: u64) -> usize {
        // What is left is a multiple of the alignment, so that the padding of a block fits as well.
        let left = (self.size as u64 & !(aligned(1) - 1)).saturating_sub(used + SIZE as u64);
        left.min(MAX_RAW_BODY) as usize
    }

    /// Whether another block would be a small one.
    fn is_full(&self, used: u64) -> bool {
        self.left(used) < (self.size / FULL).min(MAX_RAW_BODY as usize)
    }
}

impl Encoder {
    /// Makes messages whose blocks have this codec behind columns; `None`: the records lie as they are. `threads`: messages of events name the threads of their
    /// rings.
    pub fn new(codec: Option<u8>, threads: bool) -> Self {
        Self { codec, threads, ..Self::default() }
    }

    /// Makes a message of events from `first` on: at most `most`, and as many as fit into `size` bytes. [`bytes`](Self::bytes) has them. The same events and limits
    /// make the same cut. `thread` tells the thread of a ring.
    ///
    /// # Safety
    /// The batch is valid, also until the bytes were read, and this is called again.
    pub unsafe fn encode(
        &mut self,
        batch: &BatchView,
        first: usize,
        most: usize,
        size: usize,
        thread: impl Fn(u64) -> Option<Thread>,
    ) -> Result<Message, NotEncoded> {
        self.clear(batch.generation);
        let Self { facts, events, threads, .. } = self;
        let mut room = Room { codec: self.codec, columns: &mut self.columns, size };
        // SAFETY: passed on: the indices are below the count.
        let at = |index: usize| (index < batch.count).then(|| unsafe { views::event(batch, index) });
        let one = at(first).ok_or(NotEncoded::Nothing)?;
        if let Some(why) = refusal(one) {
            return Err(NotEncoded::Refused(why));
        }
        let end = first.saturating_add(most).min(batch.count);
        let (mut to, mut stretches) = (first, 0);
        let mut rings = Rings::default();
        while to < end {
            let Some(event) = at(to) else { break };
            let known = if *threads { rings.add(event.ring_id, &thread)? } else { None };
            let used = events.len() + rings.bytes();
            let left = room.left(used);
            let taken = (to..end).map_while(at).scan((Cuts::default(), 0_usize), |(cuts, bytes), event| {
                let begins = cuts.begins_block(event);
                let fits = refusal(event).is_none() && (!begins || *bytes == 0);
                *bytes += stride(event.len);
                (fits && *bytes <= left).then_some(event)
            });
            let (mut count, mut need) = (0, Need::default());
            taken.for_each(|event| {
                count += 1;
                need.add(event);
            });
            let alone = count == 0 && to == first;
            if alone {
                // It may fit in columns.
                count = 1;
                need.add(event);
            } else if count == 0 {
                if known.is_some() {
                    rings.remove_last();
                }
                break;
            }
            events.reserve(1, need.copied, need.borrowed)?;
            events.begin(BlockType::EVENTS, event.ring_id, batch.realtime_offset_ns);
            for event in (to..to + count).map_while(at) {
                // SAFETY: passed on.
                unsafe { views::push(events, event) };
            }
            room.end(events)?;
            stretches += 1;
            to += count;
            let now = events.len() + rings.bytes();
            if alone && now > size as u64 {
                // The name of the thread is not worth an event.
                rings.remove_last();
                if events.len() > size as u64 {
                    return Err(NotEncoded::TooLarge(events.len() as usize));
                }
            }
            // A block that ends for want of room: the next one would be smaller still.
            let next = at(to).filter(|_| to < end);
            let cut = next.is_some_and(|next| next.ring_id == event.ring_id);
            if alone || cut && room.is_full(now) {
                break;
            }
        }
        rings.write(facts)?;
        Ok(Message {
            generation: batch.generation,
            stretches,
            ring_id: one.ring_id,
            first_sequence: one.sequence,
            count: to - first,
            len: (facts.len() + events.len()) as usize,
        })
    }

    /// Makes a message of facts, from the number `first` on, as many as fit into `size` bytes.
    pub fn encode_facts(
        &mut self,
        generation: u64,
        list: &Facts,
        first: usize,
        size: usize,
    ) -> Result<Message, NotEncoded> {
        self.clear(generation);
        let blocks = &mut self.facts;
        let mut room = Room { codec: self.codec, columns: &mut self.columns, size };
        let mut all = (first as u64..).zip(list.since(first)).peekable();
        let mut count = 0;
        while all.peek().is_some() {
            let left = room.left(blocks.len());
            let (mut bytes, before) = (0, count);
            while let Some((number, fact)) = all.peek() {
                bytes += stride(fact.payload.len());
                if bytes > left && count > 0 {
                    break;
                }
                facts::push(blocks, FactRef::from(*fact), *number)?;
                count += 1;
                all.next();
                if bytes > left {
                    break;
                }
            }
            if count == before {
                break;
            }
            room.end(blocks)?;
            if blocks.len() > size as u64 {
                return Err(NotEncoded::TooLarge(blocks.len() as usize));
            }
            if room.is_full(blocks.len()) {
                break;
            }
        }
        if count == 0 {
            return Err(NotEncoded::Nothing);
        }
        let (first_sequence, len) = (first as u64, blocks.len() as usize);
        Ok(Message { generation, first_sequence, count, len, ..Message::default() })
    }

    /// The bytes of the message that was made last.
    pub fn bytes(&mut self) -> impl Iterator<Item = &[u8]> {
        let salted = Salted::new(SALT);
        let behind = self.facts.len();
        let facts = self.facts.place(self.generation, salted, 0);
        facts.chain(self.events.place(self.generation, salted, behind))
    }

    /// Forgets the message that was made last, and with it the addresses of its payloads.
    pub fn forget(&mut self) {
        self.clear(0);
    }

    fn clear(&mut self, generation: u64) {
        self.generation = generation;
        self.facts.clear();
        self.events.clear();
    }
}

/// Why an event can be in no message.
fn refusal(event: &EventView) -> Option<&'static str> {
    if event.kind >= PIPELINE_KIND_RESERVED {
        return Some(
            "it is one of the library's own (PIPELINE_STORAGE_META), which pipeline_message_encode_facts encodes",
        );
    }
    views::refusal(event)
}

/// The rings of a message, with their threads where those are known.
#[derive(Default)]
struct Rings {
    /// The last one, and how many were added with it.
    last: Option<u64>,
    known: Vec<(u64, Thread)>,
    body: usize,
}

impl Rings {
    /// Adds a ring. Answers its thread, if that is new.
    fn add(
        &mut self,
        ring_id: u64,
        thread: impl Fn(u64) -> Option<Thread>,
    ) -> Result<Option<Thread>, NoMemory> {
        if self.last.replace(ring_id) == Some(ring_id) || self.known.iter().any(|(id, _)| *id == ring_id) {
            return Ok(None);
        }
        let Some(thread) = thread(ring_id) else { return Ok(None) };
        self.known.try_reserve(1).map_err(|_| NoMemory)?;
        self.known.push((ring_id, thread));
        self.body += stride(name(&thread).len());
        Ok(Some(thread))
    }

    /// The ring that was added last is in the next message.
    fn remove_last(&mut self) {
        if let Some((_, thread)) = self.known.pop() {
            self.body -= stride(name(&thread).len());
        }
    }

    /// The bytes of the block that names the threads.
    fn bytes(&self) -> u64 {
        if self.known.is_empty() { 0 } else { aligned((SIZE + self.body) as u64) }
    }

    fn write(&self, blocks: &mut Blocks) -> Result<(), NoMemory> {
        for (number, (ring_id, thread)) in (0..).zip(&self.known) {
            let fact = FactRef {
                kind: PIPELINE_KIND_THREAD,
                correlation_id: thread.0.into(),
                node_id: *ring_id,
                payload: name(thread),
            };
            facts::push(blocks, fact, number)?;
        }
        if blocks.is_open() {
            blocks.end();
        }
        Ok(())
    }
}

fn name(thread: &Thread) -> &[u8] {
    thread.1.split(|&byte| byte == 0).next().unwrap_or_default()
}
