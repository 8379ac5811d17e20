//! Where events go, and when they are there to stay.

use crate::deliver::lines::Lines;
use crate::deliver::place::Place;
use crate::deliver::{self, journal};
use crate::failure::Failure;
use capture_pipeline::journal::message::Reader;
use capture_pipeline::storage::feed::{Fed, Feed, Part};
use std::path::PathBuf;

/// See the module.
pub enum Target {
    /// Rows with the identity of each event as their key: a repeated one is known, and one with other contents is reported.
    Sqlite(Box<Feed>),
    /// Segments of each run. A reader gives a repeated event once.
    Journal(Journals),
    /// Lines.
    Ndjson(Box<Lines>),
}

/// A storage for each run, because facts are those of one run.
pub struct Journals {
    directory: PathBuf,
    /// The one that was used last is at the end.
    open: Vec<(u64, Feed)>,
}

/// The most runs that have segments open.
const MOST_JOURNALS: usize = 16;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it is stored.
    All,
    /// The target has refused some of its events, and has the others.
    Refused(u64),
    /// Not now.
    NotNow,
}

impl Target {
    /// Opens it, or makes it.
    pub fn open(place: &Place) -> Result<Self, Failure> {
        Ok(match place {
            Place::Sqlite(path) => Self::Sqlite(Box::new(deliver::sqlite(path)?)),
            Place::Journal(path) => {
                let journals = Journals { directory: path.clone(), open: Vec::new() };
                // So that a directory that cannot be used is known before a message comes.
                drop(journal(path)?);
                Self::Journal(journals)
            }
            Place::Ndjson(path) => Self::Ndjson(Box::new(Lines::open(path.as_deref())?)),
        })
    }

    /// Stores the messages that the readers have taken. When this returns, what is kept stays.
    pub fn store(&mut self, messages: &[(&Reader, &[u8])]) -> Result<Vec<Kept>, Failure> {
        match self {
            Self::Sqlite(feed) => feed_all(feed, messages),
            Self::Journal(journals) => {
                let mut kept = vec![Kept::NotNow; messages.len()];
                let mut runs: Vec<u64> = messages.iter().map(|(reader, _)| reader.generation()).collect();
                runs.sort_unstable();
                runs.dedup();
                for generation in runs {
                    let of_run = |at: &usize| messages[*at].0.generation() == generation;
                    let places: Vec<usize> = (0..messages.len()).filter(of_run).collect();
                    let own: Vec<_> = places.iter().map(|at| messages[*at]).collect();
                    let done = feed_all(journals.of(generation)?, &own)?;
                    places.iter().zip(done).for_each(|(at, one)| kept[*at] = one);
                }
                Ok(kept)
            }
            Self::Ndjson(lines) => {
                for (reader, message) in messages {
                    lines.write(reader, message)?;
                }
                lines.flush()?;
                Ok(vec![Kept::All; messages.len()])
            }
        }
    }

    /// Ends it.
    pub fn close(self) -> Result<(), Failure> {
        let all = match self {
            Self::Sqlite(feed) => vec![*feed],
            Self::Journal(journals) => journals.open.into_iter().map(|(_, feed)| feed).collect(),
            Self::Ndjson(_) => return Ok(()),
        };
        for feed in all {
            let status = feed.finish();
            if status != 0 {
                return Err(Failure::new(format!(
                    "the target could not be closed as it should be (status {status}); what was acknowledged is stored"
                )));
            }
        }
        Ok(())
    }
}

impl Journals {
    /// That of a run.
    fn of(&mut self, generation: u64) -> Result<&mut Feed, Failure> {
        match self.open.iter().position(|(of, _)| *of == generation) {
            Some(at) => self.open[at..].rotate_left(1),
            None => {
                if self.open.len() == MOST_JOURNALS {
                    self.open.remove(0).1.finish();
                }
                let made = journal(&self.directory)?;
                self.open.push((generation, made));
            }
        }
        match self.open.last_mut() {
            Some((_, feed)) => Ok(feed),
            None => Err(Failure::new("no journal is open")),
        }
    }
}

/// Gives a storage the facts and the events of messages, all at once, so that it commits them together.
fn feed_all(feed: &mut Feed, messages: &[(&Reader, &[u8])]) -> Result<Vec<Kept>, Failure> {
    let mut parts = Vec::new();
    let mut owners = Vec::new();
    for (number, (reader, message)) in messages.iter().enumerate() {
        let generation = reader.generation();
        let mut facts = Part::new(generation, 0);
        for fact in reader.told(message) {
            facts.push_fact(fact)?;
        }
        if !facts.is_empty() {
            parts.push(facts);
            owners.push(number);
        }
        for stretch in reader.stretches(message) {
            let mut events = Part::new(generation, stretch.realtime_offset_ns);
            for event in stretch.events {
                events.push(&event)?;
            }
            parts.push(events);
            owners.push(number);
        }
    }
    let fed = feed.store(&parts)?;
    let mut kept = vec![Kept::All; messages.len()];
    for ((owner, part), fed) in owners.iter().zip(&parts).zip(fed) {
        let refused = match fed {
            Fed::Stored(refused) => refused.len() as u64,
            Fed::Rejected => part.len() as u64,
            Fed::NotNow => {
                kept[*owner] = Kept::NotNow;
                continue;
            }
        };
        match &mut kept[*owner] {
            Kept::Refused(before) => *before += refused,
            Kept::All if refused > 0 => kept[*owner] = Kept::Refused(refused),
            Kept::All | Kept::NotNow => {}
        }
    }
    Ok(kept)
}
