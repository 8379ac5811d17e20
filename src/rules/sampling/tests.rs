use super::*;

const TRACES: u32 = 4096;

fn sampling(seed: u64, max_weight: u32) -> Sampling {
    let sampling = Sampling::new(seed);
    sampling.prepare(max_weight, TRACES).unwrap();
    sampling.allow(max_weight);
    sampling
}

/// A ring of 1,000 bytes with its watermark at 200, filled by so many of the eight steps beyond it.
fn fill(sampling: &Sampling, step: u64) {
    sampling.raise(100 + 100 * step, 200, 1000);
}

fn decide(sampling: &Sampling, id: u64) -> Decision {
    sampling.decide(id, || unreachable!("it has a trace"))
}

fn is_kept(sampling: &Sampling, id: u64) -> bool {
    decide(sampling, id).fate == Fate::Keep
}

#[test]
fn the_weight_is_doubled_for_each_step_that_no_ring_had_reached() {
    let sampling = sampling(1, MAX_WEIGHT);
    assert_eq!(sampling.weight(), 1);
    for (step, weight) in [(1, 2), (1, 2), (2, 4), (1, 4), (5, 32), (4, 32), (8, 256), (9, 256), (8, 256)] {
        fill(&sampling, step);
        assert_eq!(sampling.weight(), weight, "step {step}");
    }
}

#[test]
fn the_weight_stays_within_what_is_allowed() {
    let sampling = sampling(1, 4);
    fill(&sampling, 8);
    assert_eq!(sampling.weight(), 4);
    sampling.allow(2);
    sampling.tick(100, 75);
    assert_eq!(sampling.weight(), 2);
    sampling.allow(0);
    assert!(!sampling.is_allowed() && sampling.tick(100, 75));
    fill(&sampling, 8);
    assert_eq!(sampling.weight(), 1);
}

#[test]
fn below_the_watermark_the_weight_falls_and_above_it_captures_may_raise_it_again() {
    let sampling = sampling(1, MAX_WEIGHT);
    fill(&sampling, 3);
    // 30 percent beyond a watermark of 20 are within the second of eight steps.
    assert!(!sampling.tick(35, 20));
    assert_eq!(sampling.weight(), 8);
    fill(&sampling, 1);
    assert_eq!(sampling.weight(), 8, "the first step was reached before");
    fill(&sampling, 2);
    assert_eq!(sampling.weight(), 16, "the second one is where the ring still is");
    for weight in [8, 4, 2, 1, 1] {
        assert_eq!(sampling.tick(19, 20), weight == 1);
        assert_eq!(sampling.weight(), weight);
    }
    fill(&sampling, 1);
    assert_eq!(sampling.weight(), 2);
}

#[test]
fn a_trace_keeps_its_fate_and_its_weight_whatever_the_weight_of_new_ones_is() {
    let sampling = sampling(3, MAX_WEIGHT);
    fill(&sampling, 2);
    let ids = 1..=500;
    let first: Vec<_> = ids.clone().map(|id| decide(&sampling, id)).collect();
    let kept = first.iter().filter(|verdict| verdict.fate == Fate::Keep).count();
    assert!((80..180).contains(&kept), "about a quarter, {kept}");
    assert!(first.iter().all(|verdict| verdict.weight == 4 && verdict.flags == 0));
    for round in 0..20 {
        if round < 10 {
            fill(&sampling, 8)
        } else {
            _ = sampling.tick(0, 75)
        }
        assert!(ids.clone().map(|id| decide(&sampling, id)).eq(first.iter().copied()), "round {round}");
    }
    assert_eq!(sampling.untracked(), 0);
}

#[test]
fn a_larger_weight_keeps_a_part_of_what_a_smaller_one_keeps() {
    let weights = [1, 2, 4, 6, 8];
    let kept: Vec<Vec<u64>> = weights
        .iter()
        .map(|&step| {
            let sampling = sampling(5, MAX_WEIGHT);
            fill(&sampling, step);
            (1..2000).filter(|&id| is_kept(&sampling, id)).collect()
        })
        .collect();
    for pair in kept.windows(2) {
        assert!(pair[1].len() < pair[0].len() && pair[1].iter().all(|id| pair[0].contains(id)));
    }
}

#[test]
fn pipelines_with_the_same_seed_keep_the_same_traces_and_others_do_not() {
    let kept = |seed| {
        let sampling = sampling(seed, MAX_WEIGHT);
        fill(&sampling, 1);
        (1..1000).filter(|&id| is_kept(&sampling, id)).collect::<Vec<_>>()
    };
    assert_eq!(kept(7), kept(7));
    assert_ne!(kept(7), kept(8));
}

#[test]
fn what_is_kept_of_a_trace_that_may_have_lost_events_is_flagged() {
    let sampling = sampling(1, MAX_WEIGHT);
    fill(&sampling, 6);
    while sampling.weight() > 2 {
        sampling.tick(0, 75);
    }
    // New to the table, so their earlier events may have come at the weight of 64.
    let (mut flagged, mut plain) = (0, 0);
    for id in 1..2000 {
        let verdict = decide(&sampling, id);
        let at_64 = sampling.hash(id) >> 58 == 0;
        if verdict.fate == Fate::Keep {
            assert_eq!(verdict.flags, if at_64 { 0 } else { PIPELINE_EVENT_PARTIAL }, "{id}");
            *if at_64 { &mut plain } else { &mut flagged } += 1;
        }
    }
    assert!(flagged > 500 && plain > 5, "{flagged}, {plain}");
    // Sampling ends, and begins anew.
    sampling.tick(0, 75);
    sampling.end();
    fill(&sampling, 1);
    assert!((10_000..10_500).all(|id| decide(&sampling, id).flags == 0));
}

#[test]
fn the_end_of_sampling_is_none_if_the_weight_was_raised_meanwhile() {
    let sampling = sampling(1, MAX_WEIGHT);
    fill(&sampling, 3);
    sampling.end();
    sampling.tick(0, 75);
    assert!((1..500).any(|id| decide(&sampling, id).flags == PIPELINE_EVENT_PARTIAL));
}

#[test]
fn events_without_a_trace_are_decided_one_by_one() {
    let sampling = sampling(1, MAX_WEIGHT);
    fill(&sampling, 3);
    let mut numbers = 0..;
    let kept = (0..8000)
        .map(|_| sampling.decide(0, || numbers.next().unwrap()))
        .inspect(|verdict| assert_eq!((verdict.weight, verdict.flags), (8, 0)))
        .filter(|verdict| verdict.fate == Fate::Keep)
        .count();
    assert!((850..1150).contains(&kept), "{kept} of 8000 at a weight of 8");
    assert_eq!((numbers.next(), sampling.untracked()), (Some(8000), 0));
}

#[test]
fn without_a_place_in_the_table_the_weight_of_the_moment_decides() {
    let sampling = Sampling::new(1);
    sampling.prepare(MAX_WEIGHT, 1).unwrap();
    sampling.allow(MAX_WEIGHT);
    fill(&sampling, 2);
    (1..=7).for_each(|id| assert_eq!(decide(&sampling, id).weight, 4));
    assert_eq!(sampling.untracked(), 0);
    fill(&sampling, 4);
    (1..=7).for_each(|id| assert_eq!(decide(&sampling, id).weight, 4));
    (8..100).for_each(|id| assert_eq!(decide(&sampling, id).weight, 16));
    assert_eq!(sampling.untracked(), 92);
}

#[test]
fn a_trace_is_forgotten_after_the_time_without_an_event_and_not_before() {
    const HOLD: u64 = 8000;
    let sampling = sampling(1, MAX_WEIGHT);
    fill(&sampling, 1);
    (1..=50).for_each(|id| _ = decide(&sampling, id));
    fill(&sampling, 3);
    for now in 1..=8 {
        sampling.keep_epoch(now * 1000, HOLD);
        sampling.tick(100, 75);
        // These have events all the time.
        assert!((1..=10).all(|id| decide(&sampling, id).weight == 2), "{now}");
    }
    assert!((11..=30).all(|id| decide(&sampling, id).weight == 2), "quiet for the time, and not longer");
    for now in 9..=17 {
        sampling.keep_epoch(now * 1000, HOLD);
        sampling.tick(100, 75);
        assert!((1..=10).all(|id| decide(&sampling, id).weight == 2));
    }
    // Their places are free for others. Until another takes it, a trace is still known.
    let weight = sampling.weight();
    assert!((1000..6000).filter(|&id| decide(&sampling, id).weight == weight).count() > 3000);
    let known = (31..=50).filter(|&id| decide(&sampling, id).weight == 2).count();
    assert!(known < 20, "{known} of 20 in a table that was filled since");
}

/// The sum of weights over many seeds, at weights that change for every trace, is what was offered, within four standard errors.
#[test]
fn the_sum_of_weights_estimates_what_was_offered() {
    const SEEDS: u64 = 400;
    const IDS: u64 = 300;
    let sums: Vec<f64> = (0..SEEDS)
        .map(|seed| {
            let sampling = sampling(seed, 64);
            let mut sum = 0.0;
            for id in 1..=IDS {
                match id % 7 {
                    0 => fill(&sampling, 1 + id / 7 % 5),
                    3 => _ = sampling.tick(0, 75),
                    _ => {}
                }
                // Each trace has three events, and one without a trace comes with them.
                for n in 0..4 {
                    let verdict = sampling.decide(if n == 3 { 0 } else { id }, || id << 8);
                    if verdict.fate == Fate::Keep {
                        sum += f64::from(verdict.weight);
                    }
                }
            }
            sum
        })
        .collect();
    let n = SEEDS as f64;
    let mean = sums.iter().sum::<f64>() / n;
    let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let offered = (4 * IDS) as f64;
    let error = (variance / n).sqrt();
    assert!(error < offered / 20.0, "the seeds are many enough: {error}");
    assert!((mean - offered).abs() < 4.0 * error, "{mean} for {offered}, standard error {error}");
}

#[test]
fn a_promoted_trace_is_kept_with_weight_1_whatever_sampling_and_rules_ask_for() {
    let sampling = sampling(1, 64);
    fill(&sampling, 4);
    // Before there is a promotion, rules sample each trace by its hash.
    let by_rule = |id, weight, under_load| sampling.decide_at(id, || 0, weight, under_load);
    let kept = (1..).find(|id| is_kept(&sampling, *id)).unwrap();
    let cut = (1..).find(|id| !is_kept(&sampling, *id)).unwrap();
    assert_eq!(by_rule(cut, 16, false).decision.fate, Fate::SampleOut);
    let fresh = 1_000_000;
    let promoted = [(kept, 0), (cut, PIPELINE_EVENT_PARTIAL)];
    for (id, flags) in promoted {
        assert_eq!(sampling.promote(id), Decision { flags, ..Decision::KEEP });
        for verdict in
            [decide(&sampling, id), by_rule(id, 1 << 20, false).decision, by_rule(id, 1 << 20, true).decision]
        {
            assert_eq!(verdict, Decision { flags, ..Decision::KEEP });
        }
        assert_eq!(sampling.promote(id).flags, flags);
    }
    // One that is new may have been dropped before it was forgotten.
    let verdict = sampling.promote(fresh);
    assert_eq!((verdict.fate, verdict.weight, decide(&sampling, fresh)), (Fate::Keep, 1, verdict));
    // Others are sampled as before.
    assert!((1..2_000).filter(|id| ![kept, cut].contains(id)).any(|id| by_rule(id, 16, false).by_weight));
    assert_eq!(sampling.promote(0), Decision::KEEP);
}

#[test]
fn what_is_kept_of_a_promoted_trace_that_a_rule_has_cut_is_flagged() {
    let sampling = sampling(1, 64);
    sampling.note_rules(16, 1_000);
    let by_rule = |id, weight| sampling.decide_at(id, || 0, weight, false).decision;
    for id in 1..300 {
        let cut = by_rule(id, 16).fate == Fate::SampleOut;
        let flags = if cut { PIPELINE_EVENT_PARTIAL } else { 0 };
        // Also where the rule was replaced since, by one that cuts nothing more of it.
        if id % 2 == 0 {
            sampling.note_rules(1, 2_000);
            sampling.forget_rules(2_099, 100);
        }
        let expected = Decision { flags, ..Decision::KEEP };
        assert_eq!(sampling.promote(id), expected, "{id}");
        // A rule that came later has cut nothing of it.
        sampling.note_rules(1 << 20, 2_000);
        assert_eq!((by_rule(id, 1 << 20), sampling.promote(id)), (expected, expected), "{id}");
        sampling.note_rules(0, 2_000);
        sampling.forget_rules(2_100, 100);
        sampling.note_rules(16, 1_000);
    }
    sampling.note_rules(0, 2_000);
    sampling.forget_rules(2_100, 100);
    assert!((1_000..1_300).all(|id| sampling.promote(id) == Decision::KEEP));
}

#[test]
fn a_promoted_trace_without_a_place_is_flagged_if_it_may_have_lost_events() {
    let sampling = Sampling::new(1);
    sampling.prepare_table(1).unwrap();
    sampling.note_rules(16, 1_000);
    // The table has seven places, and the first seven traces keep them.
    (1..=7).for_each(|id| _ = sampling.promote(id));
    for id in 8..300 {
        let cut = sampling.decide_at(id, || 0, 16, false).decision.fate == Fate::SampleOut;
        let flags = if cut { PIPELINE_EVENT_PARTIAL } else { 0 };
        assert_eq!(sampling.promote(id), Decision { flags, ..Decision::KEEP }, "{id}");
    }
    assert_eq!(sampling.untracked(), 292);
}
