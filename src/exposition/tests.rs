use super::*;
use crate::metrics::{Metrics, WriterMetrics};
use std::collections::BTreeSet;

fn figures() -> Figures {
    let mut figures = Figures::default();
    figures.metrics.captured = 7;
    figures.metrics.uptime_ns = 61_000_000_001;
    figures.metrics.pressure = 42;
    figures.spread.count = 3;
    figures.spread.up_to = [2; 26];
    figures.spread.sum_ns = 1_500_000_000;
    let writer = WriterMetrics { writer_id: 5, call_ns: 2_000_000, ..WriterMetrics::default() };
    figures.writers.push((&writer).into());
    figures
}

fn source<'a>(name: &'a str, id: u64, figures: &'a Figures) -> Source<'a> {
    Source { name, id, storage: "custom", figures, process: None }
}

fn text(sources: &[Source<'_>], format: Format) -> String {
    Exposition::new(sources, format).and_then(|e| e.text()).expect("memory")
}

#[test]
fn values_are_written_exactly_and_in_base_units() {
    let figures = figures();
    let text = text(&[source("p", 1, &figures)], Format::Prometheus);
    let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    has(r#"capture_pipeline_events_captured_total{pipeline="p",storage="custom"} 7"#);
    has(r#"capture_pipeline_uptime_seconds{pipeline="p",storage="custom"} 61.000000001"#);
    has(r#"capture_pipeline_pressure_ratio{pipeline="p",storage="custom"} 0.42"#);
    has(r#"capture_pipeline_latency_seconds_bucket{pipeline="p",storage="custom",le="0.000001023"} 2"#);
    has(r#"capture_pipeline_latency_seconds_bucket{pipeline="p",storage="custom",le="+Inf"} 3"#);
    has(r#"capture_pipeline_latency_seconds_sum{pipeline="p",storage="custom"} 1.500000000"#);
    has(r#"capture_pipeline_latency_seconds_count{pipeline="p",storage="custom"} 3"#);
    has(
        r#"capture_pipeline_writer_call_seconds_total{pipeline="p",storage="custom",writer="5"} 0.002000000"#,
    );
    has("# TYPE capture_pipeline_events_captured_total counter");
}

#[test]
fn the_formats_differ_in_the_names_of_counters_the_units_and_the_end() {
    let figures = figures();
    let source = [source("p", 1, &figures)];
    let (plain, open) = (text(&source, Format::Prometheus), text(&source, Format::OpenMetrics));
    let samples =
        |text: &str| text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(samples(&plain), samples(&open));
    assert!(open.contains("# TYPE capture_pipeline_events_captured counter\n"));
    assert!(open.contains("# UNIT capture_pipeline_stored_bytes bytes\n"));
    assert!(open.ends_with("\n# EOF\n") && !plain.contains("# EOF") && !plain.contains("# UNIT"));
    assert_eq!(text(&[], Format::Prometheus), "");
    assert_eq!(text(&[], Format::OpenMetrics), "# EOF\n");
}

/// The labels `pipeline` of a text, in the order of the pipelines, with their escapes.
fn names(text: &str) -> Vec<&str> {
    let samples = text.lines().filter_map(|l| l.strip_prefix("capture_pipeline_uptime_seconds{pipeline=\""));
    samples.map(|l| l.split_once("\",storage").expect("a label storage").0).collect()
}

#[test]
fn pipelines_of_one_name_are_told_apart_whatever_the_others_are_called() {
    let figures = figures();
    let of = |given: &[(&str, u64)]| {
        let sources: Vec<_> = given.iter().map(|&(name, id)| source(name, id, &figures)).collect();
        names(&text(&sources, Format::Prometheus)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&[("a", 1), ("b", 2)]), ["a", "b"]);
    assert_eq!(of(&[("a", 9), ("a", 3), ("a", 4)]), ["a#9", "a", "a#4"], "the oldest keeps its name");
    assert_eq!(
        of(&[("a", 1), ("a", 2), ("a#2", 3), ("#", 4), ("a#x", 5)]),
        ["a", "a#2", "a#2#3", "#", "a#x"]
    );
    let most = u64::MAX.to_string();
    assert_eq!(of(&[("a", 1), ("a", u64::MAX)]), ["a".to_owned(), format!("a#{most}")]);
}

#[test]
fn labels_are_escaped() {
    let figures = figures();
    let text = text(&[source("a\"b\\c\nd\u{7f}é", 1, &figures)], Format::Prometheus);
    assert_eq!(names(&text), ["a\\\"b\\\\c\\nd\u{7f}é"]);
}

#[test]
fn the_samples_of_a_family_stand_together_and_no_series_comes_twice() {
    let figures = figures();
    let sources: Vec<_> =
        ["a", "b", "a"].iter().zip(1..).map(|(name, id)| source(name, id, &figures)).collect();
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = text(&sources, format);
        let (mut family, mut families, mut series) = ("", BTreeSet::new(), BTreeSet::new());
        for line in text.lines().filter(|l| *l != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().expect("a name");
                assert!(families.insert(family), "{family} comes twice");
            } else if line.starts_with('#') {
                assert_eq!(line.split(' ').nth(2), Some(family));
            } else {
                assert!(line.starts_with(family), "{line} in {family}");
                assert!(series.insert(line.rsplit_once(' ').expect("a value").0), "{line} comes twice");
            }
        }
        assert_eq!(families.len(), documented().iter().filter(|metric| metric.table != "process").count());
    }
}

#[test]
fn what_does_not_fit_is_not_written_and_the_most_is_enough_for_any_figures() {
    let mut figures = figures();
    let most = Exposition::new(&[source("p", 1, &figures)], Format::Prometheus).expect("memory").most_bytes();
    figures.metrics.captured = u64::MAX / 2;
    figures.metrics.uptime_ns = u64::MAX;
    figures.metrics.pressure = u32::MAX;
    figures.spread.sum_ns = u128::MAX;
    figures.writers[0].call_ns = u64::MAX;
    let sources = [source("p", 1, &figures)];
    let exposition = Exposition::new(&sources, Format::Prometheus).expect("memory");
    let length = exposition.text().expect("memory").len();
    assert!(length <= most && most - length < 20 * 200, "{length} bytes, at most {most}");
    let mut short = vec![b'x'; length];
    assert_eq!(exposition.write(&mut short[..length - 1]), length);
    assert_eq!(short[length - 1], b'x');
}

#[test]
fn every_figure_is_a_metric_or_left_out_for_a_reason() {
    let shown: BTreeSet<_> = documented().iter().map(|metric| metric.field).collect();
    let left_out: BTreeSet<_> = LEFT_OUT.iter().map(|(field, _)| *field).collect();
    let debug = format!("{:?} {:?}", pipeline_metrics_t::from(&Metrics::default()), WriterMetrics::default());
    let fields = debug.split(['{', ',']).filter_map(|part| part.split_once(':')).map(|(name, _)| name.trim());
    let mut count = 0;
    for field in fields {
        assert!(
            shown.contains(field) != left_out.contains(field),
            "{field}: a metric, or left out, but not both"
        );
        count += 1;
    }
    assert!(count > 80, "{count} fields");
    for Metric { name, kind, help, .. } in documented() {
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains(['"', '\\', '\n']), "{name}: {help}");
    }
}

#[test]
fn the_process_is_told_where_it_may_be_another_one() {
    let figures = figures();
    let process = |alive| Some(Process { id: 17, alive, started_ns: 1_700_000_000_000_000_001 });
    let sources = [
        Source { process: process(true), ..source("a", 1, &figures) },
        Source { process: process(false), ..source("b", 2, &figures) },
        source("c", 3, &figures),
    ];
    let text = text(&sources, Format::Prometheus);
    let of = |name: &str| {
        text.lines().filter(|l| l.starts_with(&format!("capture_pipeline_{name}{{"))).collect::<Vec<_>>()
    };
    let alive = ["1", "0"].iter().zip(["a", "b"]);
    let wanted: Vec<_> = alive
        .map(|(alive, name)| {
            format!(r#"capture_pipeline_process_alive{{pipeline="{name}",storage="custom"}} {alive}"#)
        })
        .collect();
    assert_eq!(of("process_alive"), wanted);
    assert_eq!(of("process_id").len(), 2);
    assert!(of("start_time_seconds")[0].ends_with(" 1700000000.000000001"));
}
