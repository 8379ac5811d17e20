//! Temporary directories, files that are filled at random, and what a recovery gives.

use crate::image::{Event, Image};
use crate::random::Random;
use capture_pipeline::batch::BatchView;
use capture_pipeline::event::PIPELINE_KIND_RESERVED;
use capture_pipeline::recovery::{FileReport, Options, Report, recover};
use capture_pipeline::ring_file::reader::{DeadRun, Directory, Piece, Purpose, Taken};
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::{Abilities, Storage};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A temporary directory that only its owner may use, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("capture_pipeline-rings-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).expect("a scratch directory");
        Self(path)
    }

    /// A directory that is there already.
    pub fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The names in it.
    pub fn names(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0).expect("the directory");
        let mut names: Vec<String> =
            all.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    }

    pub fn directory(&self) -> Arc<Directory> {
        Arc::new(Directory::open(&self.0, Purpose::Recover).expect("the directory"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An identity: generation, ring id, sequence.
pub type Identity = (u64, u64, u64);

/// An event as a storage sees it: its identity, its time, and the rest as it was captured.
pub type Seen = (Identity, u64, Event);

/// A fact as a storage sees it: generation, kind, correlation id, node id, payload.
pub type Fact = (u64, u32, u64, u64, Vec<u8>);

/// Keeps what it is given.
#[derive(Clone, Default)]
pub struct Keeping {
    pub events: Arc<Mutex<Vec<Seen>>>,
    pub facts: Arc<Mutex<Vec<Fact>>>,
}

impl Keeping {
    pub fn take(&self, batch: &BatchView) {
        for view in batch.events() {
            assert_eq!(view.data as usize % 8, 0, "a payload is not aligned");
            if view.kind >= PIPELINE_KIND_RESERVED {
                self.facts.lock().unwrap().push((
                    batch.generation,
                    view.kind,
                    view.correlation_id,
                    view.node_id,
                    view.payload().to_vec(),
                ));
                continue;
            }
            let event = Event {
                kind: view.kind,
                flags: view.flags,
                weight: view.weight as f32,
                sequence: view.sequence,
                timestamp: view.timestamp_ns,
                correlation_id: view.correlation_id,
                node_id: view.node_id,
                payload: view.payload().to_vec(),
            };
            let identity = (batch.generation, view.ring_id, view.sequence);
            self.events.lock().unwrap().push((identity, batch.batch_id, event));
        }
    }

    /// The identities that have come, in their order.
    pub fn identities(&self) -> Vec<Identity> {
        self.events.lock().unwrap().iter().map(|(identity, ..)| *identity).collect()
    }
}

// SAFETY: a batch is used before its answer alone.
unsafe impl Storage for Keeping {
    fn abilities(&self) -> Abilities {
        Abilities { meta: true, ..Abilities::default() }
    }
    fn store(&self, batch: &BatchView) -> i32 {
        self.take(batch);
        0
    }
}

/// Recovers a directory into a storage.
pub fn recover_into(path: &Path, storage: impl Storage + 'static) -> (Report, Vec<FileReport>) {
    let mut files = Vec::new();
    let options = Options { retry_for: Duration::from_secs(60) };
    let report = recover(path, &mut Feed::new(storage), &options, |file| files.push(file.clone()));
    (report.expect("a directory that can be recovered"), files)
}

/// Takes the only file of a directory for recovery.
pub fn take(scratch: &Scratch, path: &Path) -> Taken {
    let name = CString::new(path.file_name().expect("a name").as_bytes()).expect("a name");
    let generation = u64::from_str_radix(&name.to_str().expect("text")[..16], 16).expect("a generation");
    DeadRun::take(&scratch.directory(), &name, generation)
}

/// Takes a file that is a dead run's.
pub fn take_run(scratch: &Scratch, path: &Path) -> Box<DeadRun> {
    match take(scratch, path) {
        Taken::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// All events of a run: identity and contents.
pub fn read_all(run: &mut DeadRun) -> Vec<(Identity, Event)> {
    let mut all = Vec::new();
    let mut piece = Piece::default();
    while run.next(&mut piece).expect("a file that can be read") {
        for event in run.events(&piece, 0) {
            assert_eq!(event.payload.as_ptr() as usize % 8, 0, "a payload is not aligned");
            assert_eq!(event.ring_id, piece.ring_id());
            let identity = (event.generation, event.ring_id, event.sequence);
            let event = Event {
                kind: event.kind,
                flags: event.flags,
                weight: event.weight as f32,
                sequence: event.sequence,
                timestamp: event.timestamp_ns,
                correlation_id: event.correlation_id,
                node_id: event.node_id,
                payload: event.payload.to_vec(),
            };
            all.push((identity, event));
        }
    }
    all
}

/// Fills a ring at random, with events released in between, so that it has wrapped some times. Answers what is left in it.
pub fn fill(image: &mut Image, ring: usize, random: &mut Random, rounds: u64) -> Vec<Event> {
    let size = image.header.shape.bytes_of(ring as u64);
    // Where each record that is left ends.
    let mut left: Vec<(u64, Event)> = Vec::new();
    let mut sequence = random.below(1_000);
    for _ in 0..rounds {
        let len = random.below(size / 4) >> random.below(8);
        let event = Event::new(sequence, &random.bytes(len as usize));
        while !image.push(ring, &event) {
            let (end, _) = left.remove(0);
            image.rings[ring].released = end;
        }
        left.push((image.rings[ring].head, event));
        sequence += 1 + random.below(3) / 2;
    }
    left.into_iter().map(|(_, event)| event).collect()
}

/// Several rings, filled at random. Answers what is left in each.
pub fn filled(generation: u64, random: &mut Random) -> (Image, BTreeMap<Identity, Event>) {
    let mut image = Image::new(generation, (4096 << random.below(4), 3), (4096, 2));
    let mut all = BTreeMap::new();
    for ring in 0..5 {
        let id = 10 + ring as u64;
        image.ring(ring, id, 100 + id, 8 * random.below(10_000));
        let rounds = random.below(200);
        for event in fill(&mut image, ring, random, rounds) {
            all.insert((generation, id, event.sequence), event);
        }
    }
    (image, all)
}
