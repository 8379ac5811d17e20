//! How flush, close, destroy and abandon treat parts that are on their way.

use super::*;

#[test]
fn a_flush_waits_for_what_counts_as_recovered_and_for_nothing_else() {
    let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_PENDING);
    let one = run(71);
    scene.recover_with((0..2).map(|n| part(&one, 5 + n, n, 0..2)), false, |_| {});
    let shown = [scene.next(), scene.next()];
    assert_eq!(scene.ledger().recovered, 4);
    assert!(scene.pool.flush(Some(Duration::ZERO)).is_err());
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| scene.pool.flush(Some(PATIENCE)));
        scene.until("nobody waits", |st| st.waiters > 0);
        scene.complete(&shown[0], PIPELINE_STORE_OK);
        scene.until("one is not settled", |st| st.batches.events.stored() == 2);
        assert!(!flush.is_finished());
        scene.complete(&shown[1], PIPELINE_STORE_OK);
        flush.join().unwrap().unwrap();
    });
    // The source may have more later, which no flush waits for.
    scene.pool.flush(Some(Duration::ZERO)).unwrap();
    assert!(scene.pool.lock().recovery.is_running());
}

#[test]
fn a_close_leaves_in_the_old_files_what_no_writer_has_claimed() {
    let scene = scene(Config { writers: 0, ..quick() }, CONCURRENT, |_| PIPELINE_STORE_OK);
    let one = run(71);
    scene.recover((0..3).map(|n| part(&one, 5 + n, n, 0..2)));
    scene.until("nothing is offered", |st| !st.recovery.has_room());
    scene.pool.close(Some(PATIENCE)).unwrap();
    let ledger = scene.ledger();
    assert_eq!((ledger.recovered, ledger.stored, ledger.left), (0, 0, 0));
    assert!(scene.acknowledged.try_recv().is_err());
    assert!(!scene.pool.lock().recovery.is_running(), "close has waited for the recovery's thread");
}

#[test]
fn a_close_acknowledges_what_it_has_drained_and_what_it_has_not_is_left() {
    for answered in [true, false] {
        let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_PENDING);
        let one = run(71);
        scene.recover((0..3).map(|n| part(&one, 5 + n, n, 0..2)));
        let shown = [scene.next(), scene.next()];
        if answered {
            std::thread::scope(|scope| {
                let close = scope.spawn(|| scene.pool.close(Some(PATIENCE)));
                scene.until("nobody waits", |st| st.waiters > 0);
                shown.iter().for_each(|shown| scene.complete(shown, PIPELINE_STORE_OK));
                close.join().unwrap().unwrap();
            });
            // When close returns, and not later.
            let acknowledged: Vec<u64> = scene.acknowledged.try_iter().collect();
            assert_eq!((acknowledged.len(), scene.ledger().stored, scene.ledger().recovered), (2, 4, 4));
        } else {
            assert!(scene.pool.close(Some(Duration::from_millis(20))).is_err());
            assert_eq!((scene.ledger().in_flight, scene.acknowledged.try_iter().count()), (4, 0));
            // A late answer counts, and is acknowledged.
            scene.complete(&shown[0], PIPELINE_STORE_OK);
            assert_eq!(scene.acknowledged(1).len(), 1);
            scene.complete(&shown[1], PIPELINE_STORE_RETRY);
            assert_eq!((scene.ledger().stored, scene.ledger().left), (2, 2));
            // It waits for no attempt that never comes.
            scene.until("writers have not ended", |st| st.writers.list.is_empty());
            assert!(scene.pool.tear_down_if_at_rest());
            scene.until("the recovery's thread has not ended", |st| !st.recovery.is_running());
        }
    }
}

#[test]
fn an_abandoned_pool_is_freed_at_the_last_answer() {
    for round in 0..20 {
        let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_PENDING);
        let one = run(71);
        scene.recover((0..3).map(|n| part(&one, 5 + n, n, 0..2)));
        let shown = [scene.next(), scene.next()];
        scene.pool.abandon();
        let run = Arc::downgrade(&one);
        drop(one);
        for shown in &shown[..round % 3] {
            scene.complete(shown, PIPELINE_STORE_RETRY);
        }
        for shown in &shown[round % 3..] {
            scene.complete(shown, PIPELINE_STORE_OK);
        }
        scene.until("the recovery's thread has not ended", |st| !st.recovery.is_running());
        let weak = Arc::downgrade(&scene.pool);
        drop(scene);
        let end = Instant::now() + PATIENCE;
        while weak.strong_count() + run.strong_count() > 0 {
            assert!(Instant::now() < end, "round {round}: it is not freed");
            std::thread::yield_now();
        }
    }
}
