//! rtrb: a ring buffer for each thread, with one consumer for all of them, which cannot sleep.

use crate::contender::{Burst, Contender, Record, Setup};
use crate::{QUEUE_EVENTS, wait};
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Shared {
    opened: Mutex<Vec<Consumer<Record>>>,
    count: AtomicUsize,
    ending: AtomicBool,
}

pub struct Polling {
    shared: Arc<Shared>,
    consumer: Mutex<Option<JoinHandle<()>>>,
}

fn consume(shared: &Shared, setup: &Setup) {
    let mut rings: Vec<Consumer<Record>> = Vec::new();
    loop {
        let last = shared.ending.load(Ordering::Acquire);
        if shared.count.load(Ordering::Acquire) > rings.len() {
            rings.append(&mut shared.opened.lock().expect("not poisoned"));
        }
        let mut got = 0;
        for ring in &mut rings {
            let slots = ring.slots();
            if slots == 0 {
                continue;
            }
            let chunk = ring.read_chunk(slots).expect("as many slots as counted");
            let (first, second) = chunk.as_slices();
            setup.store(first);
            setup.store(second);
            chunk.commit_all();
            got += slots;
        }
        if got == 0 && last {
            return;
        }
        // A consumer that follows too closely takes cache lines from the producer that is writing them.
        if got < 512 {
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(2) {
                std::hint::spin_loop();
            }
        }
    }
}

impl Contender for Polling {
    type Handle = Producer<Record>;
    fn start(setup: Setup) -> Self {
        let shared = Arc::new(Shared::default());
        let for_consumer = Arc::clone(&shared);
        let consumer = std::thread::spawn(move || consume(&for_consumer, &setup));
        Self { shared, consumer: Mutex::new(Some(consumer)) }
    }
    fn open(&'static self, _: u32) -> Self::Handle {
        let (producer, consumer) = RingBuffer::new(QUEUE_EVENTS);
        let mut opened = self.shared.opened.lock().expect("not poisoned");
        opened.push(consumer);
        self.shared.count.fetch_add(1, Ordering::Release);
        producer
    }
    fn capture(&'static self, producer: &mut Self::Handle, burst: &Burst) {
        for i in 0..burst.count {
            let mut record = Record::new(burst, i);
            let mut spins = 0;
            while let Err(PushError::Full(back)) = producer.push(record) {
                record = back;
                wait(&mut spins);
            }
        }
    }
    fn stop(&'static self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.consumer
            .lock()
            .expect("not poisoned")
            .take()
            .expect("running")
            .join()
            .expect("the consumer does not panic");
    }
}
