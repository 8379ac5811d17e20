//! crossbeam-channel: one bounded channel, shared by all threads.

use crate::QUEUE_EVENTS;
use crate::contender::{Burst, Contender, Record, Setup};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Mutex;
use std::thread::JoinHandle;

pub struct Bounded {
    sender: Mutex<Option<Sender<Record>>>,
    consumer: Mutex<Option<JoinHandle<()>>>,
}

fn consume(receiver: &Receiver<Record>, setup: &Setup) {
    let mut batch = Vec::with_capacity(256);
    while let Ok(first) = receiver.recv() {
        batch.push(first);
        while batch.len() < 256 {
            match receiver.try_recv() {
                Ok(record) => batch.push(record),
                Err(_) => break,
            }
        }
        setup.store(&batch);
        batch.clear();
    }
}

impl Contender for Bounded {
    type Handle = Sender<Record>;
    fn start(setup: Setup) -> Self {
        let (sender, receiver) = bounded(QUEUE_EVENTS * setup.threads as usize);
        let consumer = std::thread::spawn(move || consume(&receiver, &setup));
        Self { sender: Mutex::new(Some(sender)), consumer: Mutex::new(Some(consumer)) }
    }
    fn open(&'static self, _: u32) -> Self::Handle {
        self.sender.lock().expect("not poisoned").as_ref().expect("running").clone()
    }
    fn capture(&'static self, sender: &mut Self::Handle, burst: &Burst) {
        for i in 0..burst.count {
            sender.send(Record::new(burst, i)).expect("the consumer receives");
        }
    }
    fn stop(&'static self) {
        drop(self.sender.lock().expect("not poisoned").take());
        self.consumer
            .lock()
            .expect("not poisoned")
            .take()
            .expect("running")
            .join()
            .expect("the consumer does not panic");
    }
}
