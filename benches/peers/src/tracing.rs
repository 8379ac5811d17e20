//! tracing-appender's NonBlocking: the way of a log line to its file, without the formatting.

use crate::QUEUE_EVENTS;
use crate::contender::{Burst, Contender, Record, Setup};
use std::io::Write;
use std::sync::Mutex;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

const HEADER: usize = size_of::<Record>() - 64;

struct Storage(Setup);

impl Write for Storage {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.store_one(&line[HEADER..]);
        Ok(line.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub struct Appender {
    writer: NonBlocking,
    guard: Mutex<Option<WorkerGuard>>,
}

impl Contender for Appender {
    type Handle = NonBlocking;
    fn start(setup: Setup) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(false)
            .buffered_lines_limit(QUEUE_EVENTS * setup.threads as usize)
            .finish(Storage(setup));
        Self { writer, guard: Mutex::new(Some(guard)) }
    }
    fn open(&'static self, _: u32) -> Self::Handle {
        self.writer.clone()
    }
    fn capture(&'static self, writer: &mut Self::Handle, burst: &Burst) {
        for i in 0..burst.count {
            let record = Record::new(burst, i);
            // SAFETY: a record is plain bytes without padding.
            let line =
                unsafe { std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of::<Record>()) };
            writer.write_all(line).expect("a lossless writer accepts every line");
        }
    }
    fn stop(&'static self) {
        // The guard waits for at most one second; a queue of this size drains sooner.
        drop(self.guard.lock().expect("not poisoned").take());
    }
}
