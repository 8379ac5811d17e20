//! How recovered batches share places in flight and calls with live ones, and what is told of them.

use super::*;

#[test]
fn an_answer_that_does_not_come_puts_them_in_doubt_and_counts_once() {
    let config = Config { storage_deadline_ms: 5, max_in_doubt: 4, ..quick() };
    let scene = scene(config, CONCURRENT, |_| PIPELINE_STORE_PENDING);
    let one = run(71);
    scene.recover((0..3).map(|n| part(&one, 5 + n, n, 0..2)));
    let (first, second) = (scene.next(), scene.next());
    scene.until("not in doubt", |st| st.batches.in_doubt == 2);
    assert_eq!((scene.ledger().in_doubt, scene.ledger().in_flight), (4, 0));
    assert_eq!(scene.pool.lock().batches.recovered_in_flight, 0);
    // Live events go on.
    capture(scene.pool.rings.attach_handle().unwrap());
    let live = scene.next();
    assert_eq!(live.generation, scene.pool.generation);
    for shown in [first, second, live] {
        scene.complete(&shown, PIPELINE_STORE_OK);
        assert!(token::complete(shown.token, 0, PIPELINE_STORE_OK).is_err());
    }
    scene.complete(&scene.next(), PIPELINE_STORE_OK);
    scene.until_over();
    assert_eq!((scene.ledger().recovered, scene.ledger().stored, scene.ledger().in_doubt), (6, 7, 0));
}

#[test]
fn live_events_are_stored_while_recovered_ones_never_are() {
    for (max_in_flight, priority) in [(1, false), (2, false), (1, true), (2, true), (3, true)] {
        let config =
            Config { max_in_flight, retry_initial_us: 60_000_000, retry_max_us: 60_000_000, ..quick() };
        let scene = scene(config, CONCURRENT, |shown: &Shown| {
            if shown.generation == 71 { PIPELINE_STORE_RETRY } else { PIPELINE_STORE_OK }
        });
        if priority {
            let now = time::now_ns();
            scene.pool.lock().turns.claimed(now);
        }
        let one = run(71);
        scene.recover((0..3).map(|n| part(&one, 5 + n, n, 0..2)));
        scene.until("none waits for its next attempt", |st| !st.batches.back_off.is_empty());
        let producer = scene.pool.rings.attach_handle().unwrap();
        for n in 1..=20 {
            capture(producer);
            scene.until("a live event is not stored", |st| st.batches.events.stored() == n);
        }
        let in_flight = scene.ledger().in_flight;
        assert!(in_flight == 2 || in_flight == 4 && max_in_flight > 2, "{max_in_flight}: {in_flight}");
    }
}

#[test]
fn at_most_every_fourth_call_is_with_recovered_events_while_live_ones_wait() {
    let config = Config { writers: 0, batch_size: 1, ..quick() };
    let scene = scene(config, Abilities::default(), |_| PIPELINE_STORE_OK);
    let one = run(71);
    let producer = scene.pool.rings.attach_handle().unwrap();
    for _ in 0..40 {
        capture(producer);
    }
    scene.recover((0..20).map(|n| part(&one, 5, n, n..n + 1)));
    scene.until("nothing is offered", |st| !st.recovery.has_room());
    scene.pool.scale(1).unwrap();
    scene.until_over();
    scene.pool.flush(Some(PATIENCE)).unwrap();
    let calls: Vec<bool> = scene.shown.try_iter().map(|shown| shown.generation == 71).collect();
    assert_eq!((calls.len(), calls.iter().filter(|&&old| old).count()), (60, 20));
    let last_live = calls.iter().rposition(|&old| !old).unwrap();
    let old_at: Vec<usize> = (0..=last_live).filter(|&at| calls[at]).collect();
    assert!(old_at.len() >= 2, "{old_at:?}");
    assert!(old_at.windows(2).all(|two| two[1] - two[0] >= 4), "{old_at:?}");
}

#[test]
fn damage_and_what_is_in_the_way_are_told() {
    let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_OK);
    scene.recover_with([], true, |source| {
        (source.torn, source.problem) = (3, Some("FILE: version 9, this library reads 1".to_owned()));
    });
    scene.until_over();
    assert_eq!(scene.pool.metrics().ledger.torn, 3);
    let health = scene.pool.health();
    assert_eq!(
        (health.status, health.reasons & PIPELINE_HEALTH_RECOVERY),
        (PIPELINE_DEGRADED, PIPELINE_HEALTH_RECOVERY)
    );
    assert!(health.message.contains("recovery: FILE: version 9"), "{}", health.message);
}

#[test]
fn a_pause_holds_them_back_and_own_times_are_no_latency() {
    let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_OK);
    scene.pool.set_paused(true).unwrap();
    let one = run(71);
    let mut own = Part::new(one, 5, 1, [0].into_iter()).unwrap();
    own.push(&EventView { flags: PIPELINE_EVENT_OWN_TIME, ..event(1) }, b"").unwrap();
    scene.recover([own]);
    scene.until("nothing is offered", |st| st.recovery.has_offered());
    scene.until("writers do not rest", |st| st.writers.searching == 0);
    assert_eq!(scene.ledger().recovered, 0);
    scene.pool.set_paused(false).unwrap();
    scene.until_over();
    assert_eq!(
        (scene.ledger().recovered, scene.ledger().stored, scene.pool.metrics().latency.max),
        (1, 1, 0)
    );
}
