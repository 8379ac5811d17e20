//! crossbeam's ArrayQueue: one bounded queue, shared by all threads, and a consumer that sleeps when it is empty.

use crate::contender::{Burst, Contender, Record, Setup};
use crate::{QUEUE_EVENTS, wait};
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

struct Shared {
    queue: ArrayQueue<Record>,
    asleep: AtomicBool,
    ending: AtomicBool,
}

pub struct Parked {
    shared: Arc<Shared>,
    consumer: Mutex<Option<JoinHandle<()>>>,
    thread: std::thread::Thread,
}

fn membarrier(command: libc::c_int) {
    // SAFETY: no memory is passed.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    assert_eq!(done, 0, "membarrier");
}

fn consume(shared: &Shared, setup: &Setup) {
    let mut batch = Vec::with_capacity(256);
    let mut empty = 0;
    loop {
        let last = shared.ending.load(Ordering::Acquire);
        while batch.len() < 256 {
            match shared.queue.pop() {
                Some(record) => batch.push(record),
                None => break,
            }
        }
        setup.store(&batch);
        empty = if batch.is_empty() { empty + 1 } else { 0 };
        batch.clear();
        if empty > 0 && last {
            return;
        }
        if empty > 1_000 {
            shared.asleep.store(true, Ordering::Relaxed);
            membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
            if shared.queue.is_empty() && !shared.ending.load(Ordering::Acquire) {
                while shared.asleep.load(Ordering::Relaxed) {
                    std::thread::park();
                }
            }
            shared.asleep.store(false, Ordering::Relaxed);
            empty = 0;
        } else if empty > 0 {
            std::hint::spin_loop();
        }
    }
}

impl Parked {
    #[inline]
    fn wake(&self) {
        if self.shared.asleep.load(Ordering::Relaxed) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Contender for Parked {
    type Handle = ();
    fn start(setup: Setup) -> Self {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(QUEUE_EVENTS * setup.threads as usize),
            asleep: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let for_consumer = Arc::clone(&shared);
        let consumer = std::thread::spawn(move || consume(&for_consumer, &setup));
        Self { shared, thread: consumer.thread().clone(), consumer: Mutex::new(Some(consumer)) }
    }
    fn open(&'static self, _: u32) {}
    fn capture(&'static self, (): &mut (), burst: &Burst) {
        for i in 0..burst.count {
            let mut record = Record::new(burst, i);
            let mut spins = 0;
            while let Err(back) = self.shared.queue.push(record) {
                record = back;
                wait(&mut spins);
            }
            compiler_fence(Ordering::SeqCst);
            self.wake();
        }
    }
    fn stop(&'static self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.asleep.store(false, Ordering::SeqCst);
        self.thread.unpark();
        self.consumer
            .lock()
            .expect("not poisoned")
            .take()
            .expect("running")
            .join()
            .expect("the consumer does not panic");
    }
}
