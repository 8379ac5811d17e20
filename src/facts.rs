//! What a pipeline knows about its events beside the events: names and definitions of kinds, its attributes, and readings of its clocks.
//!
//! The list only grows, and a fact never changes. So it is read without a lock, and a reader that remembers how many facts it has read
//! learns by one load whether there are more. Storages that keep the library's own events (`PIPELINE_STORAGE_META`) get each fact as an
//! event as well. The threads of rings are not in the list, because they change as long as a pipeline runs: see
//! [`Source::thread`](crate::storage::Source::thread).

use crate::event::{
    PIPELINE_KIND_ATTRIBUTE, PIPELINE_KIND_CLOCK, PIPELINE_KIND_DEFINITION, PIPELINE_KIND_KIND_NAME,
};
use crate::platform::memory;
use crate::platform::sync::{AtomicU64, Mutex, Ordering};
use crate::status::{Error, PIPELINE_ERR_LIMIT, Result};
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// The most facts that the program may add to a pipeline.
pub const MOST_FACTS: usize = 65_536;
/// The most bytes of all their payloads.
pub const MOST_BYTES: usize = 16 << 20;

/// The list's memory is allocated in pieces of so many facts.
const CHUNK: usize = 256;
/// The last piece is for the facts that the library adds by itself, a few in the life of a pipeline.
const CHUNKS: usize = MOST_FACTS / CHUNK + 1;

/// One fact, with the fields of the event that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `PIPELINE_KIND_…`: what it is about.
    pub kind: u32,
    /// As in the event.
    pub correlation_id: u64,
    /// As in the event. For names and definitions it is the kind that they belong to.
    pub node_id: u64,
    /// As in the event.
    pub payload: Box<[u8]>,
}

impl Fact {
    /// A fact with a copy of this payload. Fails if there is no memory.
    pub fn new(kind: u32, correlation_id: u64, node_id: u64, payload: &[u8]) -> Result<Self> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(payload.len()).map_err(|_| memory::refused(payload.len()))?;
        copy.extend_from_slice(payload);
        Ok(Self { kind, correlation_id, node_id, payload: copy.into_boxed_slice() })
    }

    /// Whether the library adds it by itself.
    pub fn is_own(&self) -> bool {
        self.kind == PIPELINE_KIND_CLOCK
    }

    /// The name of a kind.
    pub fn kind_name(kind: u32, name: &[u8]) -> Result<Self> {
        Self::new(PIPELINE_KIND_KIND_NAME, 0, u64::from(kind), name)
    }

    /// An attribute of the pipeline: its number, its name of at most 255 bytes, its value.
    pub fn attribute(number: u64, name: &[u8], value: &[u8]) -> Result<Self> {
        let len = name.len().min(255);
        let mut fact = Self::new(PIPELINE_KIND_ATTRIBUTE, 0, number, &[])?;
        let mut payload = Vec::new();
        let bytes = 1 + len + value.len();
        payload.try_reserve_exact(bytes).map_err(|_| memory::refused(bytes))?;
        payload.push(len as u8);
        payload.extend_from_slice(&name[..len]);
        payload.extend_from_slice(value);
        fact.payload = payload.into_boxed_slice();
        Ok(fact)
    }
}

impl fmt::Display for Fact {
    /// What it is about, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PIPELINE_KIND_KIND_NAME => write!(f, "the name of kind {}", self.node_id),
            PIPELINE_KIND_DEFINITION => write!(f, "the definition of kind {}", self.node_id),
            PIPELINE_KIND_ATTRIBUTE => {
                let name = attribute_of(&self.payload).map_or(&[][..], |(name, _)| name);
                write!(f, "the attribute {}", String::from_utf8_lossy(name))
            }
            PIPELINE_KIND_CLOCK => f.write_str("the facts about the clock"),
            kind => write!(f, "a fact of kind {kind:#x} about {}", self.node_id),
        }
    }
}

/// The name and the value in the payload of an attribute. `None`: it is none.
pub fn attribute_of(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = payload.split_first()?;
    rest.split_at_checked(len.into()).filter(|(name, _)| !name.is_empty())
}

/// What only the thread that adds a fact needs.
#[derive(Debug, Default)]
struct Adding {
    /// Bytes of all payloads.
    bytes: usize,
    /// The last fact of each kind about each node id.
    last: HashMap<(u32, u64), usize>,
}

/// The facts of a pipeline, in the order in which they became known.
#[derive(Debug)]
pub struct Facts {
    /// How many there are. Published after the fact itself.
    count: AtomicU64,
    chunks: [OnceLock<Box<[OnceLock<Fact>]>>; CHUNKS],
    adding: Mutex<Adding>,
}

impl Default for Facts {
    /// None yet.
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            chunks: [const { OnceLock::new() }; CHUNKS],
            adding: Mutex::new(Adding::default()),
        }
    }
}

impl Facts {
    /// How many facts there are. It costs one load, and never decreases.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire) as usize
    }

    /// The facts from the number `first` on, 0 being the oldest. Of several facts of one kind about the same node id the last one counts.
    pub fn since(&self, first: usize) -> impl Iterator<Item = &Fact> {
        (first..self.count()).map_while(|number| self.get(number))
    }

    fn get(&self, number: usize) -> Option<&Fact> {
        self.chunks.get(number / CHUNK)?.get()?.get(number % CHUNK)?.get()
    }

    /// Adds a fact, once `tell` has succeeded for it. When this returns, every reader sees it. A fact that repeats the last one about the
    /// same is told again, and not added. Fails if there are too many, or no memory.
    pub fn add(&self, fact: Fact, tell: impl FnOnce(&Fact) -> Result<()>) -> Result<()> {
        self.add_kept(fact, |_| Ok(()), tell)
    }

    /// The same for a fact that is kept elsewhere as well: `keep` comes before `tell`, and only for a fact that is added.
    pub fn add_kept(
        &self,
        fact: Fact,
        keep: impl FnOnce(&Fact) -> Result<()>,
        tell: impl FnOnce(&Fact) -> Result<()>,
    ) -> Result<()> {
        let mut adding = self.adding.lock();
        let about = (fact.kind, fact.node_id);
        if adding.last.get(&about).and_then(|&last| self.get(last)) == Some(&fact) {
            return tell(&fact);
        }
        let number = self.count();
        let bytes = adding.bytes + fact.payload.len();
        let own = fact.is_own() && number < CHUNKS * CHUNK;
        if number >= MOST_FACTS && !own {
            let text = format!(
                "{fact}: {MOST_FACTS} names and definitions of kinds and attributes allowed in the life of a pipeline, all of them given"
            );
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        if bytes > MOST_BYTES && !own {
            let text = format!(
                "{fact}: {MOST_BYTES} bytes of names and definitions of kinds and attributes allowed in the life of a pipeline, {} used, {} given",
                adding.bytes,
                fact.payload.len()
            );
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        if adding.last.try_reserve(1).is_err() {
            return Err(memory::refused(size_of::<((u32, u64), usize)>()));
        }
        let chunk = match self.chunks[number / CHUNK].get() {
            Some(chunk) => chunk,
            None => {
                let made = memory::boxed(CHUNK, OnceLock::new)?;
                self.chunks[number / CHUNK].get_or_init(|| made)
            }
        };
        keep(&fact)?;
        tell(&fact)?;
        chunk[number % CHUNK].get_or_init(|| fact);
        adding.bytes = bytes;
        adding.last.insert(about, number);
        self.count.store(number as u64 + 1, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::PIPELINE_ERR_FULL;
    use std::sync::atomic::AtomicBool;

    fn name(kind: u32, name: &[u8]) -> Fact {
        Fact::kind_name(kind, name).unwrap()
    }

    fn names(facts: &Facts, first: usize) -> Vec<(u64, &[u8])> {
        facts.since(first).map(|fact| (fact.node_id, &*fact.payload)).collect()
    }

    #[test]
    fn facts_come_in_their_order_and_a_new_name_stands_beside_the_old_one() {
        let facts = Facts::default();
        for (kind, text) in [(1, b"one"), (2, b"two"), (1, b"uno")] {
            facts.add(name(kind, text), |_| Ok(())).unwrap();
        }
        assert_eq!(names(&facts, 0), [(1, &b"one"[..]), (2, b"two"), (1, b"uno")]);
        assert_eq!(names(&facts, 2), [(1, &b"uno"[..])]);
        assert_eq!((facts.count(), names(&facts, 3).len(), names(&facts, 9).len()), (3, 0, 0));
    }

    #[test]
    fn an_attribute_is_read_as_it_was_written() {
        let fact = Fact::attribute(3, b"host", b"a").unwrap();
        assert_eq!(
            (fact.kind, fact.node_id, &*fact.payload),
            (PIPELINE_KIND_ATTRIBUTE, 3, &b"\x04hosta"[..])
        );
        assert_eq!(fact.to_string(), "the attribute host");
        assert_eq!(attribute_of(&fact.payload), Some((&b"host"[..], &b"a"[..])));
        assert_eq!(attribute_of(b"\x04host"), Some((&b"host"[..], &b""[..])));
        for none in [&b""[..], b"\x00value", b"\x05host"] {
            assert_eq!(attribute_of(none), None);
        }
    }

    #[test]
    fn a_fact_that_repeats_the_last_one_is_told_and_not_kept_twice() {
        let facts = Facts::default();
        let mut told = 0;
        for text in [b"one", b"one", b"two", b"one", b"one"] {
            let tell = |_: &Fact| {
                told += 1;
                Ok(())
            };
            facts.add(name(1, text), tell).unwrap();
        }
        assert_eq!((told, facts.count()), (5, 3));
    }

    #[test]
    fn a_fact_that_could_not_be_told_is_not_in_the_list() {
        let facts = Facts::default();
        let full = facts.add(name(1, b"one"), |_| Err(Error::new(PIPELINE_ERR_FULL, "full")));
        assert_eq!((full.unwrap_err().status, facts.count()), (PIPELINE_ERR_FULL, 0));
        facts.add(name(1, b"one"), |_| Ok(())).unwrap();
        assert_eq!(facts.count(), 1);
    }

    #[test]
    fn the_list_ends_at_its_limits_and_says_which() {
        let facts = Facts::default();
        let numbered = |n: usize| Fact::new(PIPELINE_KIND_KIND_NAME, 0, n as u64, &[]).unwrap();
        (0..MOST_FACTS).for_each(|n| facts.add(numbered(n), |_| Ok(())).unwrap());
        let error = facts.add(numbered(MOST_FACTS), |_| unreachable!("it is told of nothing")).unwrap_err();
        assert_eq!(error.status, PIPELINE_ERR_LIMIT);
        assert!(error.detail.contains("65536") && error.detail.contains("kind"), "{error:?}");
        assert!(facts.since(0).enumerate().all(|(n, fact)| fact.node_id == n as u64));
        // The library's own find a place all the same, but not without end.
        let clock = |n: usize| Fact::new(PIPELINE_KIND_CLOCK, 0, 0, &n.to_ne_bytes()).unwrap();
        (0..CHUNK).for_each(|n| facts.add(clock(n), |_| Ok(())).unwrap());
        assert_eq!(facts.since(MOST_FACTS).last(), Some(&clock(CHUNK - 1)));
        assert_eq!(facts.add(clock(CHUNK), |_| Ok(())).unwrap_err().status, PIPELINE_ERR_LIMIT);

        let facts = Facts::default();
        let large = |n: u64, len: usize| Fact::new(PIPELINE_KIND_KIND_NAME, 0, n, &vec![0; len]).unwrap();
        facts.add(large(1, MOST_BYTES - 10), |_| Ok(())).unwrap();
        let error = facts.add(large(2, 11), |_| Ok(())).unwrap_err();
        assert_eq!(error.status, PIPELINE_ERR_LIMIT);
        assert!(error.detail.contains("16777216") && error.detail.contains("11 given"), "{error:?}");
        facts.add(large(3, 10), |_| Ok(())).unwrap();
        assert_eq!(facts.count(), 2);
    }

    #[test]
    fn a_reader_beside_a_thread_that_adds_sees_each_fact_once_and_whole() {
        const ALL: usize = 3 * CHUNK + 7;
        let (facts, done) = (Facts::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..ALL {
                    facts.add(name(n as u32, n.to_string().as_bytes()), |_| Ok(())).unwrap();
                }
                done.store(true, Ordering::Release);
            });
            let mut seen = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                let count = facts.count();
                assert!(count == 0 || facts.since(count - 1).next().is_some(), "what is counted is there");
                for fact in facts.since(seen) {
                    assert_eq!(*fact, name(seen as u32, seen.to_string().as_bytes()));
                    seen += 1;
                }
                if last {
                    break;
                }
            }
            assert_eq!(seen, ALL);
        });
    }
}
