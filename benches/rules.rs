//! What rules cost a capture.
//!
//! `cargo bench --bench rules`. Pipelines take turns: one without rules, and others with ten rules on kinds and ids of which none matches, with ten of which one
//! matches, with a set of 1,000 ids, and with rules on a field or on another kind. Each captures bursts of 2,000 events, and is drained outside the measured time. The median
//! of all bursts is printed, in nanoseconds an event, and that of the differences from the burst without rules beside it. Every event is accounted
//! for at the end.

use capture_pipeline::batch::BatchView;
use capture_pipeline::config::Config;
use capture_pipeline::event::Event;
use capture_pipeline::ffi::capture::pipeline_capture_event;
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::rules::parse;
use capture_pipeline::status::{Error, PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_INVALID, PIPELINE_OK};
use capture_pipeline::storage::{PIPELINE_STORE_OK, Storage};
use std::time::{Duration, Instant};

const BURST: u64 = 2_000;
const BURSTS: usize = 1_001;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

struct Nothing;

// SAFETY: the storage keeps no pointer into a batch.
unsafe impl Storage for Nothing {
    fn store(&self, _: &BatchView) -> i32 {
        PIPELINE_STORE_OK
    }
}

const TEN: &str = "drop if kind = 2\ndrop if kind in (3, 4, 5)\nsample 1/10 if kind > 1000\ntag 1 if kind = 7 and node_id = 12\n\
    drop if node_id = 77\npriority if node_id in (100, 200, 300)\nkeep trace if correlation_id = 5000\n\
    drop if correlation_id in (6000, 7000, 8000)\nlimit 100/s if node_id = 400 or correlation_id = 9000\n";
const LAST: [&str; 2] =
    ["tag 2 if kind = 8 and correlation_id = 10000\n", "tag 2 if kind = 1 and correlation_id > 0\n"];

fn start(rules: &str) -> Pipeline {
    let config = Config { writers: 1, ring_bytes: 16 << 20, ..Config::default() };
    let pipeline = Pipeline::start(config, Nothing).expect("it starts");
    let mut definition = Definition::new(1, "request");
    definition.fields = vec![Field::new("size", Type::Integer(Integer::U64), 0)];
    definition.size = 16;
    pipeline.define_kind(definition).expect("it is allowed");
    let read = || parse(rules).map_err(|fault| Error::new(PIPELINE_ERR_INVALID, fault.to_string()));
    pipeline.set_rules(read, false).expect("they are rules");
    pipeline.pause().expect("it runs");
    pipeline
}

fn drain(pipeline: &Pipeline) {
    pipeline.resume().expect("it runs");
    pipeline.flush(PATIENCE).expect("the storage stores");
    pipeline.pause().expect("it runs");
}

fn burst(pipeline: &Pipeline) -> f64 {
    let payload = [7u64; 2];
    let began = Instant::now();
    for n in 0..BURST {
        let event = Event {
            struct_size: size_of::<Event>() as u32,
            kind: 1,
            timestamp_ns: 0,
            correlation_id: 1 + n % 100,
            node_id: 10_000 + n % 64,
            flags: 0,
            reserved: 0,
            data: payload.as_ptr().cast(),
            len: 16,
        };
        // SAFETY: the payload is readable.
        let status = unsafe { pipeline_capture_event(pipeline, &raw const event) };
        assert!(status == PIPELINE_OK || status == PIPELINE_DROPPED_BY_RULE);
    }
    began.elapsed().as_nanos() as f64 / BURST as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let ids: Vec<String> = (0..1000).map(|n| (n * 17 + 100_000).to_string()).collect();
    let contenders = [
        ("no rules", String::new(), 0),
        ("ten rules, none matches", [TEN, LAST[0]].concat(), 0),
        ("ten rules, one matches", [TEN, LAST[1]].concat(), 1),
        (
            "a set of 1,000 ids",
            format!("drop if node_id in ({})", ids[..500].join(", "))
                + &format!(" or node_id in ({})", ids[500..].join(", ")),
            0,
        ),
        ("a rule on a field", "drop if request.size > 1 MiB".into(), 0),
        ("a rule on another kind", "drop if kind = 2".into(), 0),
        ("dropped by a field", "drop if not request.size > 1 MiB".into(), 1),
    ];
    let pipelines = contenders.each_ref().map(|(_, rules, _)| start(rules));
    let (mut each, mut more) = (vec![Vec::new(); contenders.len()], vec![Vec::new(); contenders.len()]);
    for round in 0..BURSTS {
        let mut took = [0.0; 7];
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            took[at] = burst(&pipelines[at]);
            drain(&pipelines[at]);
        }
        for at in 0..contenders.len() {
            each[at].push(took[at]);
            more[at].push(took[at] - took[0]);
        }
    }
    let all = BURST * BURSTS as u64;
    let plain = median(&mut each[0].clone());
    for (at, (name, _, matching)) in contenders.iter().enumerate() {
        let ledger = pipelines[at].metrics().ledger;
        let dropped = if name.starts_with("dropped") { all } else { 0 };
        assert_eq!((ledger.stored, ledger.dropped_rule, ledger.offered()), (all - dropped, dropped, all));
        let rules = pipelines[at].rule_count();
        let matched: u64 = (0..rules)
            .map(|rule| pipelines[at].rule_metrics(rule).expect("it is there").counts.matched)
            .sum();
        assert_eq!(matched, matching * all, "{name}");
        let (ns, more) = (median(&mut each[at]), median(&mut more[at]));
        println!("{name}: {ns:.1} ns, {:.2} x; from burst to burst {more:+.1} ns", ns / plain);
    }
}
