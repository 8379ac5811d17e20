//! Where messages go: into files of a directory, or to a collector.

use crate::export::folder::Folder;
use crate::export::pieces::Split;
use crate::failure::Failure;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, one message on each line: `traces.jsonl`, `logs.jsonl`, `metrics.jsonl`.
    Json,
    /// Protocol buffers, each message behind its length, four bytes with the highest one first: `traces.pb` and so on.
    Protobuf,
}

/// See the module.
pub enum Output {
    /// Files.
    Files(Files),
    /// A collector.
    Collector(Collector),
}

/// The files of a directory.
pub struct Files {
    folder: Folder,
    encoding: Encoding,
    split: Option<u64>,
    /// For each signal the number of its file, and that one's size.
    sizes: BTreeMap<&'static str, (u32, u64)>,
}

/// A collector that is reached by HTTP.
pub struct Collector {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    /// Items that it has refused, by its own word.
    rejected: u64,
}

/// A collector that is busy is asked so often.
const ATTEMPTS: u32 = 8;
/// The time limit of one attempt.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read of an answer.
const ANSWER: u64 = 1 << 20;

impl Output {
    /// Files in a directory. `split`: a file ends when it has so many bytes.
    pub fn files(folder: Folder, encoding: Encoding, split: Option<Split>) -> Result<Self, Failure> {
        let split = match split {
            None => None,
            Some(Split::Bytes(bytes)) => Some(bytes),
            Some(Split::Ns(_)) => {
                return Err(Failure::new(
                    "--split: files of OTLP are split by size, as in 100M; select a time by --from and --until",
                ));
            }
        };
        Ok(Self::Files(Files { folder, encoding, split, sizes: BTreeMap::new() }))
    }

    /// A collector at a URL, `http://HOST:4318`, with headers, `NAME: VALUE`.
    pub fn collector(url: &str, headers: &[String]) -> Result<Self, Failure> {
        let mut parsed = Vec::new();
        for header in headers {
            let Some((name, value)) = header.split_once(':') else {
                return Err(Failure::new(format!("--header '{header}': NAME: VALUE expected")));
            };
            parsed.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .build()
            .new_agent();
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self::Collector(Collector { agent, url, headers: parsed, rejected: 0 }))
    }

    /// Writes a message of a signal.
    pub fn put<M: Message + Serialize>(&mut self, signal: &'static str, message: &M) -> Result<(), Failure> {
        match self {
            Self::Files(files) => files.put(signal, message),
            Self::Collector(collector) => collector.put(signal, message),
        }
    }

    /// All is written.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Files(files) => files.folder.commit(),
            Self::Collector(Collector { rejected: 0, .. }) => Ok(()),
            Self::Collector(Collector { rejected, url, .. }) => {
                Err(Failure::new(format!("{url}: the collector has rejected {rejected} items")))
            }
        }
    }
}

impl Files {
    fn put<M: Message + Serialize>(&mut self, signal: &'static str, message: &M) -> Result<(), Failure> {
        let (bytes, end) = match self.encoding {
            Encoding::Json => {
                let failed = |error| Failure::new(format!("a message cannot be written as JSON: {error}"));
                let mut bytes = serde_json::to_vec(message).map_err(failed)?;
                bytes.push(b'\n');
                (bytes, "jsonl")
            }
            Encoding::Protobuf => {
                let message = message.encode_to_vec();
                let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
                bytes.extend(message);
                (bytes, "pb")
            }
        };
        let (number, size) = self.sizes.entry(signal).or_insert((1, 0));
        if let Some(most) = self.split
            && *size > 0
            && *size + bytes.len() as u64 > most
        {
            (*number, *size) = (*number + 1, 0);
        }
        *size += bytes.len() as u64;
        let name = if self.split.is_some() {
            format!("{signal}.{number:04}.{end}")
        } else {
            format!("{signal}.{end}")
        };
        self.folder.append(".", &name)?.put(&bytes)
    }
}

impl Collector {
    /// Sends a message. It is sent again while the collector says that it is busy.
    fn put<M: Message>(&mut self, signal: &str, message: &M) -> Result<(), Failure> {
        let url = format!("{}/v1/{signal}", self.url);
        let failed = |what: String| Failure::new(format!("{url}: {what}"));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let compressed = gzip.write_all(&message.encode_to_vec()).and_then(|()| gzip.finish());
        let body = compressed.map_err(|error| failed(error.to_string()))?;
        let mut wait = Duration::from_millis(200);
        for attempt in 1.. {
            let mut request = self
                .agent
                .post(&url)
                .header("Content-Type", "application/x-protobuf")
                .header("Content-Encoding", "gzip");
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let mut answer = request.send(&body[..]).map_err(|error| failed(error.to_string()))?;
            let status = answer.status().as_u16();
            let text = answer.body_mut().with_config().limit(ANSWER).read_to_vec().unwrap_or_default();
            match status {
                200..=299 => {
                    self.rejected += rejected(&text);
                    return Ok(());
                }
                429 | 502..=504 if attempt < ATTEMPTS => {
                    let asked = answer
                        .headers()
                        .get("Retry-After")
                        .and_then(|value| value.to_str().ok()?.parse().ok());
                    std::thread::sleep(asked.map_or(wait, Duration::from_secs).min(PATIENCE));
                    wait *= 2;
                }
                _ => {
                    let text = String::from_utf8_lossy(&text);
                    return Err(failed(format!("status {status} at attempt {attempt}: {}", text.trim())));
                }
            }
        }
        Ok(())
    }
}

/// How many items a collector has rejected, as its answer says: a message with a message in field 1 whose field 1 is that number. It is so for each signal.
fn rejected(answer: &[u8]) -> u64 {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| partial.rejected_spans.max(0).unsigned_abs())
}
