use super::*;
use crate::rules::{Actions, Limit, Redact};
use crate::status::{PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT};

#[test]
fn a_text_that_is_no_list_of_rules_is_refused_with_line_column_and_rule() {
    for (text, expected) in [
        (
            "drip",
            "line 1, column 1: rule 1: an action (keep drop sample limit priority redact snapshot tag) expected, 'drip' found",
        ),
        ("\n\na: drop\nb :  tag 9", "line 4, column 10: rule 2 (b): a tag from 1 to 8 expected, 9 found"),
        ("a: drop\na: drop", "rule 2 (a): rule 1 has the same name"),
        (
            "drop iff kind = 1",
            "column 6: rule 1: ',' and an action, 'if' and an expression, or the end of the rule expected, 'iff' found",
        ),
        ("drop if", "column 8: rule 1: a name, a number or a text expected, the end found"),
        (
            "ok: drop if kind = 1 and\n   kind = 'ü' and ü = 2",
            "line 2, column 19: rule 1 (ok): the character 'ü' has no meaning here",
        ),
        (
            "ok: drop if kind\n   = 1 2 # comment",
            "line 2, column 8: rule 1 (ok): 'and', 'or' or the end expected, 2 found",
        ),
        (
            "  drop",
            "line 1, column 3: a line that begins with white space goes on with the rule before, and there is none",
        ),
        (
            "drop if kind = 'a # b",
            "line 1, column 16: the text that begins here has no closing quote in its line",
        ),
        (
            "sample 30%",
            "column 8: rule 1: sample: 30% is not 1/N with a whole N; the nearest are 1/3 and 1/4",
        ),
        ("sample 2/3", "2/3 is not 1/N with a whole N; the nearest are 1/1 and 1/2"),
        ("sample 0", "a rate above 0 and at most 1 expected, 0 given"),
        ("sample 0%", "a rate above 0 and at most 1 expected, 0% given"),
        ("sample 1.5", "at most 1 expected, 1.5 given"),
        ("sample 1/0", "a rate above 0 and at most 1 expected, 1/0 given"),
        ("sample -1", "a rate, as in 1/100, 1% or 0.01, expected, '-' found"),
        ("sample 1/1048577", "a rate of at least 1/1048576 expected, 1/1048577 given"),
        ("sample", "column 7: rule 1: a rate, as in 1/100, 1% or 0.01, expected, the end found"),
        ("sample 1/2, sample 1/3", "column 13: rule 1: sample is given twice"),
        ("limit 5", "column 8: rule 1: '/s' expected, the end found"),
        ("limit 5/min", "column 9: rule 1: '/s' expected, 'min' found"),
        ("limit 0/s", "column 7: rule 1: limit: 1 to 1000000000 events allowed, 0 given"),
        ("limit 5/s burst 0", "1 to 1000000000 events allowed, 0 given"),
        ("limit 99999999999999999999/s", "the number is too large"),
        ("tag 0", "a tag from 1 to 8 expected, 0 found"),
        ("redact", "column 7: rule 1: a field, or payload[A..B], expected, the end found"),
        ("redact a.b.c", "FIELD, KIND.FIELD or payload[A..B] expected, 'a.b.c' found"),
        ("redact payload[4..4]", "payload[4..4] is empty"),
        ("redact payload[4..", "an offset expected, the end found"),
        ("redact payload[4-5]", "'..' expected, '-' found"),
        ("redact payload[4..5", "']' expected, the end found"),
        ("redact payload[0..4294967296]", "an offset of at most 4294967295 expected, 4294967296 found"),
        ("redact a, b, c, d, e, f, g, h, i", "column 32: rule 1: redact: at most 8 fields allowed in a rule"),
        ("drop, tag 1", "drop stands alone"),
        ("keep, sample 1/2", "keep and sample exclude each other"),
        (": drop", "a name before ':' expected"),
        ("7up: drop", "name: a letter, then letters, digits and _ - . expected, \"7up\" given"),
        ("drop,", "an action (keep drop sample limit priority redact snapshot tag) expected, the end found"),
    ] {
        let fault =
            parse(text).and_then(|rules| crate::rules::check_all(&rules)).expect_err(text).to_string();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
    let long = format!("{}: drop", "n".repeat(64));
    assert!(parse(&long).unwrap_err().to_string().contains("at most 63 bytes allowed, 64 given"));
    let many = "drop\n".repeat(10_001);
    assert!(
        parse(&many).unwrap_err().to_string().contains("line 10001, column 1: at most 10000 rules allowed")
    );
    let large = " ".repeat((4 << 20) + 1);
    assert!(parse(&large).unwrap_err().to_string().contains("4194304 bytes of text allowed, 4194305 given"));
}

#[test]
fn a_list_of_rules_may_be_written_in_many_ways() {
    let text = "\u{FEFF}# all\r\n\
        KEEP Trace, Priority, REDACT size, alloc.tag, payload[1..], tag 3 IF kind = 1\r\n\
        x-1.a:dry limit 10/s burst 20,sample 12.5 %\r\n\
        \tif kind = '#' # a comment with 'quotes\r\n\
        # a line between\r\n\
        \t  or kind = 2\r\n";
    let rules = parse(text).unwrap();
    assert_eq!(rules.len(), 2);
    let field =
        |kind: Option<&str>, field: &str| Redact::Field { kind: kind.map(Into::into), field: field.into() };
    let first = Actions {
        keep: true,
        trace: true,
        priority: true,
        redact: vec![field(None, "size"), field(Some("alloc"), "tag"), Redact::Payload(1, u32::MAX)],
        tags: 4,
        ..Actions::default()
    };
    assert_eq!((&rules[0].actions, rules[0].line, rules[0].dry), (&first, 2, false));
    let second =
        Actions { limit: Some(Limit { per_second: 10, burst: 20 }), sample: 8, ..Actions::default() };
    assert_eq!((&rules[1].actions, rules[1].line, rules[1].dry), (&second, 3, true));
    assert_eq!(rules[1].name, "x-1.a");
    assert!(rules[1].condition.is_some());
}

#[test]
fn a_rule_that_names_what_a_known_kind_does_not_have_is_refused() {
    let mut kinds = Kinds::default();
    kinds.define(alloc());
    for (text, expected) in [
        (
            "tag 1\nx: drop if alloc.sizes > 1",
            "line 2, column 1: rule 2 (x): the kind alloc has no field sizes; it has size change ok",
        ),
        ("drop if alloc.status = 'broken'", "status has no value named \"broken\"; there are error fine"),
        ("redact alloc.sizes", "the kind alloc has no field sizes"),
        ("redact node_id", "redact: node_id is no part of the payload"),
        ("drop if wall_time > 5", "wall_time: wall_time is not known when rules are applied"),
        ("drop if time > '2024-01-01'", "time: wall_time is not known when rules are applied"),
        ("drop if _sequence = 5", "_sequence: sequence is not known"),
        ("drop if ring = 5 or size > 3", "a field of this name is KIND.FIELD"),
        ("drop if weight > 2", "weight is not known"),
        ("drop if thread = 'main'", "thread_name is not known"),
        ("drop if tid = 4", "known are kind kind_name correlation_id node_id flags payload_bytes payload"),
        ("drop if generation = 4 or time_ns = 3", "generation is not known"),
    ] {
        let error = kinds.set(text).expect_err(text);
        assert_eq!(error.status, PIPELINE_ERR_INVALID);
        assert!(error.detail.contains(expected), "{text}: {error}");
    }
}

#[test]
fn rules_given_as_data_are_held_to_the_same_limits() {
    let kinds = Kinds::default();
    let rule = |actions| Rule { actions, ..Rule::default() };
    let limit =
        |per_second, burst| Actions { limit: Some(Limit { per_second, burst }), ..Actions::default() };
    let drop = Actions { drop: true, ..Actions::default() };
    for (actions, expected) in [
        (Actions::default(), "rule 2: an action is missing"),
        (
            Actions { sample: (1 << 20) + 1, ..Actions::default() },
            "1/1 to 1/1048576 allowed, 1/1048577 given",
        ),
        (limit(0, 1), "limit: 1 to 1000000000 allowed, 0 given"),
        (limit(1, 0), "burst: 1 to 1000000000 allowed, 0 given"),
        (Actions { trace: true, tags: 1, ..Actions::default() }, "trace: only with keep"),
        (Actions { redact: vec![Redact::Payload(3, 3)], ..Actions::default() }, "payload[3..3] is empty"),
        (
            Actions { redact: vec![Redact::Payload(0, 1); 9], ..Actions::default() },
            "at most 8 fields allowed, 9 given",
        ),
        (Actions { drop: true, tags: 1, ..Actions::default() }, "drop stands alone"),
    ] {
        let error = kinds.set_of(vec![rule(drop.clone()), rule(actions)]).expect_err(expected);
        assert_eq!(error.status, PIPELINE_ERR_INVALID);
        assert!(error.detail.contains(expected), "{error}");
    }
    let error = kinds.set_of(vec![rule(drop); 10_001]).unwrap_err();
    assert_eq!(
        (error.status, &*error.detail),
        (PIPELINE_ERR_LIMIT, "at most 10000 rules allowed, 10001 given")
    );
}
