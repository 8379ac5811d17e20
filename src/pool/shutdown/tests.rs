//! An abandoned pool whose producer handles are still open.

use super::*;
use crate::batch::BatchView;
use crate::config::Config;
use crate::event::EventView;
use crate::platform::{barrier, process};
use crate::storage::PIPELINE_STORE_OK;
use crate::storage::closure::Closure;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_abandoned_pool_is_torn_down_while_a_handle_still_captures() {
    for round in 0..100 {
        // The storage is gone when its end of the channel is.
        let (held, storage_gone) = mpsc::channel::<()>();
        let storage = Closure(move |_: &BatchView, _: &[EventView]| {
            let _ = &held;
            PIPELINE_STORE_OK
        });
        let alive = process::alive().unwrap();
        let pool = Pool::start(
            Config::default(),
            Box::new(storage),
            (1 << 43) + round,
            alive,
            barrier::register(),
            |_| {},
        )
        .unwrap();
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let producer = pool.rings.attach_handle().unwrap();
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    crate::capture::registry::tests::capture(producer);
                    begun.store(true, Ordering::Release);
                }
            });
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            pool.abandon();
            let gone = storage_gone.recv_timeout(PATIENCE);
            over.store(true, Ordering::Release);
            assert_eq!(
                gone,
                Err(mpsc::RecvTimeoutError::Disconnected),
                "round {round}: the storage is there"
            );
        });
    }
}
