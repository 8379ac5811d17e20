//! The metrics of pipelines as text: Prometheus' text format 0.0.4, and OpenMetrics 1.0.
//!
//! `families` lists the metrics, `out` writes text and numbers, and this file puts both together. The samples of one family stand together, whichever
//! pipeline they are of, because both formats require that. So the text is made of all pipelines at once.

mod families;
mod labels;
mod out;

pub use families::{Kind, LEFT_OUT, Metric, documented};

use crate::latency::Spread;
use crate::metrics::{Condition, Figures, pipeline_metrics_t, pipeline_writer_metrics_t};
use crate::platform::memory;
use crate::status::Result;
use families::{CONDITION, Family, LATENCY, PIPELINE, PROCESS, WRITER};
use labels::Labels;
use out::Out;

/// `pipeline_metrics_text`: Prometheus' text format, version 0.0.4 (`text/plain; version=0.0.4`).
pub const PIPELINE_METRICS_PROMETHEUS: u32 = 0;
/// `pipeline_metrics_text`: OpenMetrics, version 1.0.0 (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
pub const PIPELINE_METRICS_OPENMETRICS: u32 = 1;

/// The format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// A pipeline whose figures are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name: the label `pipeline`.
    pub name: &'a str,
    /// Tells it from other pipelines with that name. No two sources of one text have the same.
    pub id: u64,
    /// What its storage is called: the label `storage`.
    pub storage: &'a str,
    /// Its figures.
    pub figures: &'a Figures,
    /// The process that it is in. `None`: this one.
    pub process: Option<Process>,
}

/// What a text needs that is not written yet: figures and labels of each pipeline.
pub struct Exposition<'a> {
    pipelines: Vec<One<'a>>,
    labels: Labels,
    format: Format,
}

/// The process whose figures they are, if that may be another than the one that writes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Whether it still runs.
    pub alive: bool,
    /// When the pipeline was started, in nanoseconds since 1970.
    pub started_ns: u64,
}

struct One<'a> {
    figures: &'a Figures,
    process: Option<Process>,
}

impl<'a> Exposition<'a> {
    /// Gathers it. An error: there is no memory.
    pub fn new(sources: &[Source<'a>], format: Format) -> Result<Self> {
        let mut pipelines = Vec::new();
        let bytes = size_of_val(sources);
        pipelines.try_reserve_exact(sources.len()).map_err(|_| memory::refused(bytes))?;
        pipelines
            .extend(sources.iter().map(|source| One { figures: source.figures, process: source.process }));
        Ok(Self { pipelines, labels: Labels::of(sources)?, format })
    }

    /// The most bytes that the text can have for these pipelines and writers, whatever their figures are by then.
    pub fn most_bytes(&self) -> usize {
        let mut out = Out::measure();
        self.write_all(&mut out);
        out.length()
    }

    /// Writes the text into `buffer`, and answers how many bytes it has. If that is more than there are in `buffer`, what `buffer` has is
    /// unspecified.
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let mut out = Out::to(buffer);
        self.write_all(&mut out);
        out.length()
    }

    /// The text.
    pub fn text(&self) -> Result<String> {
        let mut buffer = Vec::new();
        let most = self.most_bytes();
        buffer.try_reserve_exact(most).map_err(|_| memory::refused(most))?;
        buffer.resize(most, 0);
        let length = self.write(&mut buffer);
        buffer.truncate(length);
        // (Names and labels are UTF-8, and all else is ASCII.)
        Ok(String::from_utf8(buffer).unwrap_or_default())
    }

    fn write_all(&self, out: &mut Out<'_>) {
        for family in PIPELINE {
            self.family(out, family, |one| Some(&one.figures.metrics));
        }
        for family in CONDITION {
            self.family(out, family, |one| Some(&one.figures.condition));
        }
        for family in PROCESS {
            self.family(out, family, |one| one.process.as_ref());
        }
        self.latency(out);
        self.writers(out);
        if self.format == Format::OpenMetrics {
            out.put(b"# EOF\n");
        }
    }

    /// The lines that say what a family is.
    fn head<T>(&self, out: &mut Out<'_>, family: &Family<T>) {
        // In Prometheus' format these lines have the name of the samples, in OpenMetrics that of the family.
        let total = family.kind == Kind::Counter && self.format == Format::Prometheus;
        let mut line = |keyword: &[u8], text: &str| {
            out.put(keyword);
            out.put(family.name.as_bytes());
            if total {
                out.put(b"_total");
            }
            out.put(b" ");
            out.put(text.as_bytes());
            out.put(b"\n");
        };
        line(b"# HELP ", family.help);
        line(b"# TYPE ", family.kind.word());
        if let (Format::OpenMetrics, Some(unit)) = (self.format, family.unit()) {
            line(b"# UNIT ", unit);
        }
    }

    fn family<T: 'a>(
        &self,
        out: &mut Out<'_>,
        family: &Family<T>,
        of: impl for<'o> Fn(&'o One<'a>) -> Option<&'o T>,
    ) {
        if self.pipelines.iter().all(|one| of(one).is_none()) {
            return;
        }
        self.head(out, family);
        for (n, one) in self.pipelines.iter().enumerate() {
            let Some(values) = of(one) else { continue };
            self.sample(out, family, n);
            out.put(b"} ");
            out.value((family.value)(values));
            out.put(b"\n");
        }
    }

    /// The name of a sample and the labels of its pipeline.
    fn sample<T>(&self, out: &mut Out<'_>, family: &Family<T>, pipeline: usize) {
        out.put(family.name.as_bytes());
        if family.kind == Kind::Counter {
            out.put(b"_total");
        }
        out.put(self.labels.of_pipeline(pipeline));
    }

    fn writers(&self, out: &mut Out<'_>) {
        if self.pipelines.iter().all(|one| one.figures.writers.is_empty()) {
            return;
        }
        for family in WRITER {
            self.head(out, family);
            for (n, one) in self.pipelines.iter().enumerate() {
                for writer in &one.figures.writers {
                    self.sample(out, family, n);
                    out.put(b",writer=\"");
                    out.count(writer.writer_id.into());
                    out.put(b"\"} ");
                    out.value((family.value)(writer));
                    out.put(b"\n");
                }
            }
        }
    }

    fn latency(&self, out: &mut Out<'_>) {
        if self.pipelines.is_empty() {
            return;
        }
        self.head(out, &LATENCY);
        let name = LATENCY.name.as_bytes();
        for (n, one) in self.pipelines.iter().enumerate() {
            let (labels, spread) = (self.labels.of_pipeline(n), &one.figures.spread);
            let bucket = |out: &mut Out<'_>| {
                out.put(name);
                out.put(b"_bucket");
                out.put(labels);
            };
            for (bound, up_to) in Spread::BOUNDS_NS.into_iter().zip(spread.up_to) {
                bucket(out);
                out.put(b",le=\"");
                out.seconds(bound.into());
                out.put(b"\"} ");
                out.count(up_to);
                out.put(b"\n");
            }
            bucket(out);
            out.put(b",le=\"+Inf\"} ");
            out.count(spread.count);
            out.put(b"\n");
            out.put(name);
            out.put(b"_sum");
            out.put(labels);
            out.put(b"} ");
            out.seconds(spread.sum_ns);
            out.put(b"\n");
            out.put(name);
            out.put(b"_count");
            out.put(labels);
            out.put(b"} ");
            out.count(spread.count);
            out.put(b"\n");
        }
    }
}

#[cfg(test)]
mod tests;
