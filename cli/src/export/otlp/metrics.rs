//! Numbers: the fields of counters as gauges, and the counts of a run's ledger as sums.

use super::output::Output;
use super::values::{Resources, attribute, scope, value};
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use capture_pipeline::journal::reader::{LEDGER_COUNTS, LedgerBlock};
use capture_pipeline::kinds::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric::Data, number_data_point,
};
use std::collections::BTreeMap;

/// What names a metric: its name and its unit.
type Name = (String, String);

/// See the module.
pub struct Numbers {
    /// By the run and the metric.
    gauges: BTreeMap<u64, BTreeMap<Name, Vec<NumberDataPoint>>>,
    sums: BTreeMap<u64, Vec<Metric>>,
    ledgers: BTreeMap<u64, LedgerBlock>,
    /// The wall time of the first event of each run.
    begins: BTreeMap<u64, u64>,
    len: usize,
}

impl Numbers {
    /// Those of a journal.
    pub fn new(journal: &Journal) -> Self {
        let mut begins = BTreeMap::new();
        for segment in journal.reader().segments() {
            let begin = begins.entry(segment.header.generation).or_insert(u64::MAX);
            *begin = segment.realtimes_ns.0.min(*begin);
        }
        let ledgers = journal.reader().facts().ledgers.clone();
        Self { gauges: BTreeMap::new(), sums: BTreeMap::new(), ledgers, begins, len: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds the numbers of a counter. Answers whether it has any.
    pub fn add(&mut self, found: &Found<'_>) -> bool {
        let Some(definition) = &found.kind.definition else { return false };
        let payload = found.event.payload;
        let key = definition.key_field.and_then(|at| definition.fields.get(at));
        let key = key.and_then(|field| Some(attribute(field.name.as_str(), value(field.value(payload)?))));
        let mut has_any = false;
        for (at, (field, own)) in definition.values(payload).enumerate() {
            let number = own.filter(|_| definition.key_field != Some(at)).and_then(point);
            let Some(number) = number else { continue };
            let name = (format!("{}.{}", found.kind.label(), field.name), field.unit.clone());
            let points = self.gauges.entry(found.event.generation).or_default().entry(name).or_default();
            points.push(NumberDataPoint {
                attributes: key.iter().cloned().collect(),
                time_unix_nano: found.event.realtime_ns,
                value: Some(number),
                ..NumberDataPoint::default()
            });
            (has_any, self.len) = (true, self.len + 1);
        }
        has_any
    }

    /// Adds the counts of a run, as they were at its end.
    pub fn ledger(&mut self, generation: u64, realtime_ns: u64) {
        let Some(ledger) = self.ledgers.get(&generation) else { return };
        let start = self.begins.get(&generation).copied().unwrap_or(realtime_ns).min(realtime_ns);
        for name in LEDGER_COUNTS {
            let Some(count) = ledger.count(name) else { continue };
            let point = NumberDataPoint {
                start_time_unix_nano: start,
                time_unix_nano: realtime_ns,
                value: Some(number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))),
                ..NumberDataPoint::default()
            };
            let sum = Sum {
                data_points: vec![point],
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            };
            self.len += 1;
            self.sums.entry(generation).or_default().push(Metric {
                name: format!("capture_pipeline.events.{name}"),
                unit: "{event}".into(),
                data: Some(Data::Sum(sum)),
                ..Metric::default()
            });
        }
    }

    /// Writes all of them.
    pub fn write(&mut self, resources: &Resources, output: &mut Output) -> Result<(), Failure> {
        self.len = 0;
        let mut metrics = std::mem::take(&mut self.sums);
        for (generation, gauges) in std::mem::take(&mut self.gauges) {
            let gauges = gauges.into_iter().map(|((name, unit), data_points)| Metric {
                name,
                unit,
                data: Some(Data::Gauge(Gauge { data_points })),
                ..Metric::default()
            });
            metrics.entry(generation).or_default().extend(gauges);
        }
        if metrics.is_empty() {
            return Ok(());
        }
        let resource_metrics = metrics
            .into_iter()
            .map(|(generation, metrics)| ResourceMetrics {
                resource: resources.of(generation),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            })
            .collect();
        output.put("metrics", &MetricsData { resource_metrics })
    }
}

/// A number as it is measured. Integers are signed; a greater one is a float, with the precision of one.
fn point(value: Value<'_>) -> Option<number_data_point::Value> {
    Some(match value {
        Value::Unsigned(number) => match i64::try_from(number) {
            Ok(number) => number_data_point::Value::AsInt(number),
            Err(_) => number_data_point::Value::AsDouble(number as f64),
        },
        Value::Signed(number) => number_data_point::Value::AsInt(number),
        Value::F32(number) if number.is_finite() => number_data_point::Value::AsDouble(number.into()),
        Value::F64(number) if number.is_finite() => number_data_point::Value::AsDouble(number),
        _ => return None,
    })
}
