//! The ways of recovered events, from the source to the acknowledgement.

use super::*;

#[test]
fn events_of_old_runs_are_stored_under_their_identities_and_count_as_recovered() {
    for can in [CONCURRENT, Abilities::default(), Abilities { span_bytes: Some(1 << 20), ..CONCURRENT }] {
        let scene = scene(quick(), can, |_| PIPELINE_STORE_OK);
        let (one, other) = (run(71), run(72));
        scene.recover([
            part(&one, 5, 1, 10..14),
            part(&one, 6, 2, 0..3),
            part(&other, 5, 3, 10..12),
            Part::new(other, 5, 4, [].into_iter()).unwrap(),
        ]);
        let mut acknowledged = scene.acknowledged(4);
        acknowledged.sort_unstable();
        assert_eq!(acknowledged, [1, 2, 3, 4]);
        scene.until_over();
        let mut shown: Vec<Shown> = (0..3).map(|_| scene.next()).collect();
        shown.sort_by_key(|shown| (shown.generation, shown.ring_id));
        let seen: Vec<_> =
            shown.iter().map(|s| (s.generation, s.ring_id, s.sequences.clone(), s.offset)).collect();
        let wanted = [
            (71, 5, vec![10, 11, 12, 13], 7_000),
            (71, 6, vec![0, 1, 2], 7_000),
            (72, 5, vec![10, 11], 7_000),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(shown[0].payloads, [[10], [11], [12], [13]]);
        // The old clock and the difference of its clocks tell the present time.
        let wall = time::now_ns() as i64 + time::realtime_offset_ns();
        assert!(shown.iter().all(|s| (wall - s.wall_ns).abs() < 3_600_000_000_000 && s.attempt == 1));
        let ledger = scene.ledger();
        assert_eq!((ledger.recovered, ledger.stored, ledger.captured, ledger.in_flight), (9, 9, 0, 0));
        // How long events of another run have waited is no latency of this one.
        assert_eq!(scene.pool.metrics().latency.max, 0);
        // An event of the pipeline itself has its own generation again, in the same slot.
        capture(scene.pool.rings.attach_handle().unwrap());
        scene.pool.flush(Some(PATIENCE)).unwrap();
        let own = std::iter::from_fn(|| scene.shown.try_recv().ok()).find(|shown| !shown.meta).unwrap();
        assert_eq!((own.generation, scene.pool.metrics().bytes_stored >= 9), (scene.pool.generation, true));
        let ledger = scene.ledger();
        assert_eq!((ledger.recovered, ledger.stored, ledger.captured), (9, 10, 1));
        scene.pool.close(Some(PATIENCE)).unwrap();
    }
}

#[test]
fn facts_come_first_and_alone_and_are_in_no_count() {
    let can = Abilities { meta: true, ..CONCURRENT };
    let scene = scene(Config { writers: 3, ..quick() }, can, |_| PIPELINE_STORE_PENDING);
    let one = run(71);
    scene.recover([facts(&one, 1), part(&one, 5, 2, 0..2), part(&one, 6, 3, 0..2)]);
    let old = |scene: &Scene| loop {
        let shown = scene.next();
        if shown.generation == 71 {
            return shown;
        }
        scene.complete(&shown, PIPELINE_STORE_OK);
    };
    let first = old(&scene);
    assert!(first.meta && scene.pool.old_run(71).is_some() && scene.pool.old_run(72).is_none());
    // The next part waits until the facts are stored.
    let writers_rest = |st: &mut State| st.writers.searching == 0;
    scene.until("writers do not rest", writers_rest);
    assert_eq!((scene.ledger().recovered, scene.pool.lock().recovery.has_offered()), (0, false));
    scene.complete(&first, PIPELINE_STORE_OK);
    assert_eq!(scene.acknowledged(1), [1]);
    let both = [old(&scene), old(&scene)];
    assert!(both.iter().all(|shown| !shown.meta));
    assert_eq!((scene.ledger().recovered, scene.ledger().in_flight), (4, 4));
    both.iter().for_each(|shown| scene.complete(shown, PIPELINE_STORE_OK));
    scene.until_over();
    assert_eq!((scene.ledger().stored, scene.pool.old_run(71).is_none()), (4, true));
}

#[test]
fn the_order_of_a_ring_is_kept_where_the_pipeline_keeps_it() {
    for (ordered, at_once) in [(true, 1), (false, 2)] {
        let can = Abilities { ordered, ..CONCURRENT };
        let scene = scene(Config { writers: 3, ..quick() }, can, |_| PIPELINE_STORE_PENDING);
        let one = run(71);
        scene.recover((0..5).map(|n| part(&one, 5, n, n * 2..n * 2 + 2)));
        let mut seen = Vec::new();
        for _ in 0..5 {
            let shown = scene.next();
            assert!(scene.ledger().in_flight <= at_once * 2);
            scene.complete(&shown, PIPELINE_STORE_OK);
            seen.extend(shown.sequences);
        }
        scene.until_over();
        let in_order = seen.is_sorted();
        seen.sort_unstable();
        assert_eq!((in_order || !ordered, seen), (true, (0..10).collect()));
    }
}

#[test]
fn a_part_is_acknowledged_when_its_last_event_has_left_and_not_before() {
    let scene = scene(quick(), CONCURRENT, |_| PIPELINE_STORE_PENDING);
    let one = run(71);
    scene.recover((0..4).map(|n| part(&one, 5, n, n * 2..n * 2 + 2)));
    let (first, second) = (scene.next(), scene.next());
    // At most two are on the way.
    assert_eq!((scene.ledger().recovered, scene.pool.lock().recovery.has_room()), (4, false));
    assert!(scene.acknowledged.try_recv().is_err());
    // A prefix, and the rest again under the same batch.
    token::complete(second.token, 1, PIPELINE_STORE_RETRY).unwrap();
    let again = scene.next();
    assert_eq!((again.batch_id, again.sequences, again.attempt), (second.batch_id, vec![3], 2));
    assert_eq!((scene.ledger().stored, scene.ledger().in_flight), (1, 3));
    assert!(scene.acknowledged.try_recv().is_err());
    token::complete(again.token, 0, PIPELINE_STORE_OK).unwrap();
    assert_eq!(scene.acknowledged(1), [1]);
    scene.complete(&first, PIPELINE_STORE_OK);
    assert_eq!(scene.acknowledged(1), [0]);
    for _ in 0..2 {
        scene.complete(&scene.next(), PIPELINE_STORE_OK);
    }
    scene.until_over();
    assert_eq!((scene.ledger().recovered, scene.ledger().stored), (8, 8));
}

#[test]
fn what_cannot_be_stored_goes_the_way_of_every_event() {
    for dead_letter in [true, false] {
        let can = Abilities { dead_letter, release: true, ..CONCURRENT };
        let config = Config { retry_limit: 3, ..quick() };
        let scene = scene(config, can, |shown: &Shown| match shown.ring_id {
            5 => PIPELINE_STORE_REJECT,
            6 => PIPELINE_STORE_RETRY,
            7 => {
                token::set_rejected(shown.token, 1).unwrap();
                PIPELINE_STORE_OK
            }
            _ => 99,
        });
        let one = run(71);
        scene.recover([
            part(&one, 5, 1, 0..2),
            part(&one, 6, 2, 0..4),
            part(&one, 7, 3, 0..3),
            part(&one, 8, 4, 0..5),
        ]);
        scene.until_over();
        let ledger = scene.ledger();
        let gone = if dead_letter { (12, 0) } else { (0, 12) };
        assert_eq!((ledger.recovered, ledger.stored), (14, 2));
        assert_eq!((ledger.dead_lettered, ledger.discarded), gone);
        let dead: usize = scene.dead.try_iter().map(|shown| shown.sequences.len()).sum();
        assert_eq!(dead as u64, gone.0);
        assert_eq!(scene.acknowledged(4).len(), 4);
        // The handles of another process are not this one's to release.
        scene.pool.close(Some(PATIENCE)).unwrap();
        assert_eq!(scene.released.load(Order::Acquire), 0);
    }
}

#[test]
fn a_transform_sees_them() {
    let scene = scene(Config { writers: 0, ..quick() }, CONCURRENT, |_| PIPELINE_STORE_OK);
    let filter = |event: &EventView, _: &mut crate::transform::Rewrite| {
        if event.sequence.is_multiple_of(2) { PIPELINE_TRANSFORM_FILTER } else { PIPELINE_TRANSFORM_KEEP }
    };
    scene.pool.set_transform(Some(Arc::new(Transform::new(filter)))).unwrap();
    let one = run(71);
    scene.recover([part(&one, 5, 1, 0..10), part(&one, 6, 2, 0..1)]);
    scene.pool.scale(1).unwrap();
    scene.until_over();
    let ledger = scene.ledger();
    assert_eq!((ledger.recovered, ledger.stored, ledger.filtered), (11, 5, 6));
    assert_eq!(scene.next().sequences, [1, 3, 5, 7, 9]);
}

#[test]
fn a_part_waits_for_those_that_it_must_not_overlap() {
    for ordered in [true, false] {
        let can = Abilities { ordered, ..CONCURRENT };
        let scene = scene(quick(), can, |_| PIPELINE_STORE_PENDING);
        let (one, other) = (run(71), run(72));
        scene.recover_with([part(&one, 5, 1, 0..2)], false, |_| {});
        let claimed = scene.next();
        let waits = |part: Part| scene.pool.offer(Box::new(part)).is_some();
        assert_eq!((waits(part(&one, 5, 2, 2..4)), waits(facts(&one, 3))), (ordered, true));
        assert!(!waits(part(&one, 6, 4, 0..2)) && !waits(facts(&other, 5)));
        scene.complete(&claimed, PIPELINE_STORE_OK);
        assert_eq!(scene.acknowledged(1), [1]);
    }
}
