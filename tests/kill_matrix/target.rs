//! Where the events go: the storages, and what is found in them in the end.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::journal::reader::{Options as ReaderOptions, Reader};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::journal::{JournalStorage, Options as JournalOptions};
use capture_pipeline::storage::sqlite::{Options as SqliteOptions, SqliteStorage, Synchronous};
use capture_pipeline::storage::{Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_RETRY, Storage};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// The sorts of storages.
pub const ALL: [&str; 3] = ["sqlite", "journal", "file"];

/// How often each number was found.
pub type Found = HashMap<u64, u64>;

/// A payload says which it is, and is whole or not.
pub const PAYLOAD: usize = 56;

pub fn payload_of(number: u64) -> [u8; PAYLOAD] {
    let mut payload = [0; PAYLOAD];
    for (at, word) in payload.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&number.rotate_left(9 * at as u32).to_le_bytes());
    }
    payload
}

pub fn number_of(payload: &[u8]) -> u64 {
    let number = u64::from_le_bytes(payload[..8].try_into().expect("eight bytes"));
    assert_eq!(payload, payload_of(number), "torn");
    number
}

/// A storage without keys: appends the number of each event to a file.
struct Numbers(File);

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Numbers {
    fn abilities(&self) -> Abilities {
        Abilities { concurrent: true, ..Abilities::default() }
    }

    fn store(&self, batch: &BatchView) -> i32 {
        let mut bytes = Vec::new();
        // SAFETY: the batch has so many events, whose payloads are readable.
        for event in unsafe { std::slice::from_raw_parts(batch.events, batch.count) } {
            let payload = unsafe { std::slice::from_raw_parts(event.data.cast::<u8>(), event.len) };
            bytes.extend_from_slice(&number_of(payload).to_le_bytes());
        }
        if (&self.0).write_all(&bytes).is_ok() { PIPELINE_STORE_OK } else { PIPELINE_STORE_RETRY }
    }
}

/// A pipeline with the storage of this sort.
pub fn start(sort: &str, path: &Path, config: Config) -> Pipeline {
    match sort {
        "sqlite" => Pipeline::start(config, database(path)),
        "journal" => Pipeline::start(config, journal(path)),
        _ => Pipeline::start(config, numbers(path)),
    }
    .expect("it starts")
}

/// A feed of the storage of this sort.
pub fn feed(sort: &str, path: &Path) -> Feed {
    match sort {
        "sqlite" => Feed::new(database(path)),
        "journal" => Feed::new(journal(path)),
        _ => Feed::new(numbers(path)),
    }
}

fn database(path: &Path) -> SqliteStorage {
    let options = SqliteOptions { synchronous: Synchronous::Off, indexes: false, ..SqliteOptions::default() };
    SqliteStorage::open(path, options).expect("a database")
}

fn journal(path: &Path) -> JournalStorage {
    // Many segments, so that some end while events come.
    let options = JournalOptions { segment_bytes: 1 << 16, ..JournalOptions::default() };
    JournalStorage::open(path, options).expect("a journal")
}

fn numbers(path: &Path) -> Numbers {
    Numbers(OpenOptions::new().append(true).create(true).open(path).expect("a file"))
}

/// What is in a storage. Fails if an event is torn, or a key is there twice.
pub fn found(sort: &str, path: &Path) -> Found {
    let mut found = Found::new();
    let mut see = |number| *found.entry(number).or_default() += 1;
    if !path.exists() {
        return found;
    }
    match sort {
        "sqlite" => {
            let database = rusqlite::Connection::open(path).expect("it opens");
            // (A process may be killed before it has made the table.)
            let Ok(mut statement) = database.prepare("SELECT payload FROM events") else { return found };
            let mut rows = statement.query([]).expect("rows");
            while let Some(row) = rows.next().expect("a row") {
                see(number_of(row.get_ref(0).expect("a payload").as_blob().expect("bytes")));
            }
        }
        "journal" => {
            let mut reader = Reader::open(path, ReaderOptions::default()).expect("a journal");
            while let Some(event) = reader.next().expect("it is read") {
                see(number_of(event.payload));
            }
            // (A process that is killed may leave a block that is not whole.)
            let losses = reader.losses();
            assert_eq!((losses.contradictions, losses.damages), (0, 0), "{losses:?}");
        }
        _ => {
            let bytes = std::fs::read(path).expect("it is read");
            // (A write may have been cut in the middle of a number: those events were not acknowledged.)
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().for_each(|word| see(u64::from_le_bytes(*word)));
        }
    }
    found
}
