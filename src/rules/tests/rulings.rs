use super::*;
use crate::event::PIPELINE_EVENT_OPAQUE;

fn judge(text: &str, events: &[Event<'_>]) -> Vec<String> {
    let mut kinds = Kinds::default();
    kinds.define(alloc());
    kinds.define(free());
    kinds.name(9, "other");
    let set = kinds.set(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    events.iter().map(|event| words(judged(&set, event, 0))).collect()
}

#[test]
fn rules_are_followed_in_their_order_until_one_drops_or_keeps() {
    let text = "
# what is never of interest
noise: drop if kind = 'other'
mark: tag 1, tag 8, priority if node_id
kept: keep trace if correlation_id in (5, 6, 7)
many: sample 1/10
more: sample 1%
   if kind = 7      # goes on here
less: sample 1/50 if kind = 7
late: drop if payload_bytes > 3";
    let plain = event(1, b"abc");
    let events = [
        plain,
        Event { kind: 9, ..plain },
        Event { node_id: 1, ..plain },
        Event { node_id: 1, correlation_id: 6, ..event(1, b"long") },
        Event { kind: 7, ..plain },
        event(1, b"long"),
        Event { kind: 9, correlation_id: 6, ..plain },
    ];
    let expected = [
        "1/10 by 3",
        "drop by 0",
        "1/10 by 3, priority, tags 0b10000001",
        "keep trace, priority, tags 0b10000001",
        "1/100 by 4",
        "drop by 6",
        "drop by 0",
    ];
    assert_eq!(judge(text, &events), expected);
}

#[test]
fn an_event_for_which_no_rule_matches_gets_no_ruling() {
    let text = "drop if node_id in (1, 2)\ndrop if correlation_id = 9\ndrop if kind = 5 and size > 3\ntag 1 if kind > 100";
    let plain = event(1, b"");
    let events =
        [plain, Event { node_id: 3, ..plain }, Event { node_id: 2, ..plain }, Event { kind: 101, ..plain }];
    assert_eq!(judge(text, &events), ["-", "-", "drop by 0", "tags 0b1"]);
    assert_eq!(judge("", &events[..1]), ["-"]);
}

#[test]
fn a_snapshot_is_asked_for_by_each_event_that_matches_unless_the_rule_is_dry() {
    let text =
        "dry snapshot if kind = 1\nsnapshot, tag 1 if kind > 1\nkeep if kind = 3\nsnapshot if kind = 4";
    let of = |kind| event(kind, b"");
    let expected = ["-", "snapshot, tags 0b1", "keep, snapshot, tags 0b1", "snapshot, tags 0b1"];
    assert_eq!(judge(text, &[of(1), of(2), of(3), of(4)]), expected);
}

#[test]
fn an_opaque_payload_has_a_length_and_is_neither_compared_nor_redacted() {
    let text = "tag 1 if payload_bytes = 30\ntag 2 if size or not size\ntag 3 if payload contains \"a\"
tag 4 if not payload contains \"a\"\ntag 5, redact payload[0..8], size, alloc.data\ntag 6 if size = 0x6161616161616161";
    let plain = event(7, &[b'a'; 30]);
    let opaque = Event { flags: PIPELINE_EVENT_OPAQUE, ..plain };
    let expected = ["tags 0b110111, redact 0..8, redact 24..", "tags 0b11011"];
    assert_eq!(judge(text, &[plain, opaque]), expected);
}

#[test]
fn a_field_is_redacted_where_the_kind_has_it_and_ranges_that_touch_become_one() {
    let text = "redact size\nredact alloc.name, data if kind = 7\nredact payload[2..6] if kind = 8\nredact payload if kind = 1";
    let events = [event(7, &[1; 30]), event(8, &[1; 16]), event(9, &[1; 16]), event(1, &[1; 16])];
    let expected = ["redact 0..8, redact 16..", "redact 2..8", "nothing", "redact 0.."];
    assert_eq!(judge(text, &events), expected);
}

#[test]
fn a_dry_rule_only_counts_and_a_dry_set_has_only_such() {
    let text = "a: dry drop if kind = 1\nb: tag 2 if kind = 1\nc: drop if kind = 2\nd: dry limit 1/s burst 3";
    let kinds = Kinds::default();
    let counts = |set: &RuleSet| {
        (0..4).map(|rule| set.counts_of(rule)).map(|c| (c.matched, c.limited)).collect::<Vec<_>>()
    };
    for dry in [false, true] {
        let set = RuleSet::new(parse(text).unwrap(), dry, 4, u64::MAX / 128, kinds.known()).unwrap();
        let mut said = Vec::new();
        for kind in [1, 1, 2, 3, 1] {
            said.push(words(judged(&set, &event(kind, b""), kind)));
        }
        if dry {
            assert_eq!(said, ["-"; 5]);
            assert_eq!(counts(&set), [(3, 0), (3, 0), (1, 0), (5, 2)]);
        } else {
            assert_eq!(said, ["tags 0b10", "tags 0b10", "drop by 2", "-", "tags 0b10"]);
            assert_eq!(counts(&set), [(3, 0), (3, 0), (1, 0), (4, 1)]);
        }
        assert_eq!((set.is_dry(0), set.is_dry(1), set.is_dry(3)), (true, dry, true));
    }
}

#[test]
fn what_exceeds_a_limit_is_dropped_by_its_rule_and_what_does_not_goes_on() {
    let kinds = Kinds::default();
    // (The limit counts from a time that does not come, so that its bucket stays as it is.)
    let rules = parse("limit 1/s burst 2 if kind = 1\ntag 1").unwrap();
    let set = RuleSet::new(rules, false, 1, u64::MAX, kinds.known()).unwrap();
    let said: Vec<String> =
        [1, 2, 1, 1, 2, 1].iter().map(|kind| words(judged(&set, &event(*kind, b""), 9))).collect();
    assert_eq!(said, ["tags 0b1", "tags 0b1", "tags 0b1", "drop by 0", "tags 0b1", "drop by 0"]);
    let (limit, tag) = (set.counts_of(0), set.counts_of(1));
    assert_eq!((limit.matched, limit.limited, tag.matched, tag.limited), (4, 2, 4, 0));
}

#[test]
fn an_event_that_is_sampled_out_is_counted_with_the_rule_of_the_largest_weight() {
    let set = Kinds::default().set("sample 1/10\nsample 1/20\nsample 1/15").unwrap();
    let ruling = judged(&set, &event(1, b""), 0).0.unwrap();
    assert_eq!((ruling.weight, ruling.sampled_by), (20, 1));
    set.sampled_out(ruling.sampled_by, 0);
    set.sampled_out(ruling.sampled_by, 1000);
    assert_eq!([0, 1, 2].map(|rule| set.counts_of(rule).sampled_out), [0, 2, 0]);
}

fn states(set: &RuleSet) -> Vec<String> {
    (0..set.rules().len())
        .map(|rule| match set.state(rule).unwrap() {
            State::Active => "active".into(),
            State::Inactive(reason) => reason.clone(),
        })
        .collect()
}

#[test]
fn a_rule_on_what_is_not_known_yet_waits_for_it_and_its_counts_go_on() {
    let text = "drop if alloc.size > 10\ndrop if kind = 'free'\nredact site\ntag 1 if not alloc.size > 10\n\
        drop if status = 'broken'\ntag 2 if kind_name in ('x', \"alloc\")\ntag 3 if not kind = 'free'";
    let mut kinds = Kinds::default();
    let set = kinds.set(text).unwrap();
    let waiting = [
        "the kind alloc is not defined yet",
        "no kind has the name \"free\" yet",
        "no defined kind has a field site yet",
        "the kind alloc is not defined yet",
        "no defined kind has a field status yet",
        "no kind has the name \"x\" yet",
        "no kind has the name \"free\" yet",
    ];
    assert_eq!(states(&set), waiting);
    let large = [11, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(words(judged(&set, &event(7, &large), 0)), "-");

    kinds.define(alloc());
    let set = set.renewed(kinds.known()).unwrap();
    assert_eq!(states(&set)[..4], ["active", waiting[1], waiting[2], "active"]);
    assert_eq!(states(&set)[4], "status has no value named \"broken\"; there are error fine");
    assert_eq!(words(judged(&set, &event(7, &large), 0)), "drop by 0");
    assert_eq!(words(judged(&set, &event(7, &[1; 4]), 0)), "tags 0b1");
    assert_eq!(words(judged(&set, &event(1, &large), 0)), "tags 0b1");

    kinds.name(8, "free");
    kinds.name(12, "x");
    let set = set.renewed(kinds.known()).unwrap();
    assert_eq!(states(&set)[1..3], ["active", waiting[2]]);
    assert_eq!(words(judged(&set, &event(8, &large), 0)), "drop by 1");
    assert_eq!(words(judged(&set, &event(12, b""), 0)), "tags 0b111");
    assert_eq!([0, 1, 3].map(|rule| set.counts_of(rule).matched), [1, 1, 3]);

    // The kind has another name now.
    kinds.name(8, "release");
    let set = set.renewed(kinds.known()).unwrap();
    assert_eq!(states(&set)[1], waiting[1]);
    assert_eq!(words(judged(&set, &event(8, &large), 0)), "tags 0b1");
}

#[test]
fn a_kind_that_turns_out_not_to_have_the_field_leaves_the_rule_without_effect() {
    let mut kinds = Kinds::default();
    let set = kinds.set("drop if alloc.sizes > 3\ntag 1").unwrap();
    kinds.define(alloc());
    let set = set.renewed(kinds.known()).unwrap();
    assert!(
        states(&set)[0].starts_with("the kind alloc has no field sizes; it has size change"),
        "{:?}",
        states(&set)
    );
    assert_eq!(words(judged(&set, &event(7, &[9; 24]), 0)), "tags 0b1");
}

#[test]
fn ten_thousand_rules_are_found_by_their_ids() {
    let mut text = String::new();
    for n in 0..10_000 {
        text += &format!("r{n}: tag {} if node_id = {}\n", n % 8 + 1, n * 3);
    }
    let set = Kinds::default().set(&text).unwrap();
    for n in [0, 1, 77, 9_999] {
        let found = Event { node_id: n * 3, ..event(1, b"") };
        assert_eq!(words(judged(&set, &found, 0)), format!("tags {:#b}", 1 << (n % 8)));
        assert_eq!(words(judged(&set, &Event { node_id: n * 3 + 1, ..found }, 0)), "-");
        assert_eq!(set.counts_of(n as usize).matched, 1);
    }
}

#[test]
fn kinds_with_the_same_low_bits_are_told_apart() {
    let mut kinds = Kinds::default();
    let mut other = Definition::new(7 + 256, "other");
    other.fields = vec![Field::new("size", Type::Integer(Integer::U64), 8)];
    other.fit();
    kinds.define(alloc());
    kinds.define(other);
    let set = kinds.set("big: drop if size > 100\nsample 1/2 if kind in (8, 520)").unwrap();
    let (at_0, at_8) = (
        [200, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0],
    );
    let got = |kind, payload| words(judged(&set, &event(kind, payload), 0));
    for (kind, first, second) in [
        (7, "drop by 0", "-"),
        (263, "-", "drop by 0"),
        (519, "-", "-"),
        (8, "1/2 by 1", "1/2 by 1"),
        (264, "-", "-"),
        (520, "1/2 by 1", "1/2 by 1"),
        (776, "-", "-"),
    ] {
        assert_eq!((got(kind, &at_0).as_str(), got(kind, &at_8).as_str()), (first, second), "{kind}");
    }
    let look = |kind, payload| set.look(&event(kind, payload));
    assert!([519, 264, 776, 6, 9, 255].iter().all(|kind| look(*kind, &at_0) == Look::Passes));
    assert_eq!((look(7, &at_0), look(263, &at_8)), (Look::Drops(0), Look::Drops(0)));
    assert_eq!((look(8, &at_0), look(520, &at_0)), (Look::Unsure, Look::Unsure));
}
