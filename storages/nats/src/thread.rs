//! The life of a storage's thread: from the options to the last batch.

use crate::abi::{PIPELINE_ERR_INTERNAL, PIPELINE_ERR_INVALID, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM};
use crate::connection;
use crate::options::Options;
use crate::pipeline::{self, Encoder};
use crate::status::Shared;
use crate::stream;
use crate::worker::{Job, Worker};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A status and its explanation.
pub type Failure = (i32, String);

/// The failure of a wrong option.
pub fn invalid(words: impl Into<String>) -> Failure {
    (PIPELINE_ERR_INVALID, words.into())
}

/// Starts the thread, and waits until it works or has failed.
pub fn start(
    options: impl FnOnce() -> Result<Options, Failure> + Send + 'static,
    status: Arc<Shared>,
) -> Result<UnboundedSender<Job>, Failure> {
    let (started, starts) = sync_channel(1);
    pipeline::start_thread(c"cp-nats", Box::new(move || live(options, &status, &started)))?;
    // Without an answer a panic has ended the thread.
    starts.recv().unwrap_or_else(|_| {
        Err((PIPELINE_ERR_INTERNAL, "the thread of the storage has panicked; please report it".to_owned()))
    })
}

type Started = SyncSender<Result<UnboundedSender<Job>, Failure>>;

fn live(options: impl FnOnce() -> Result<Options, Failure>, status: &Arc<Shared>, started: &Started) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // The client uses such a thread to look up names and to read certificates.
        .max_blocking_threads(1)
        .thread_name("cp-nats-file")
        .thread_keep_alive(Duration::from_millis(100))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err((PIPELINE_ERR_SYSTEM, format!("the runtime cannot start: {error}"))));
            return;
        }
    };
    let worker = match options() {
        Ok(options) => runtime.block_on(prepare(options, status)),
        Err(failure) => Err(failure),
    };
    match worker {
        Ok((mut worker, jobs)) => {
            if started.send(Ok(jobs)).is_ok() {
                runtime.block_on(worker.run());
            }
            let _entered = runtime.enter();
            drop(worker);
        }
        Err(failure) => {
            let _ = started.send(Err(failure));
        }
    }
    // The connection is closed with the runtime. A name that is being looked up is not waited for.
    runtime.shutdown_background();
}

/// Connects, looks at the stream, and makes the thread's state.
async fn prepare(options: Options, status: &Arc<Shared>) -> Result<(Worker, UnboundedSender<Job>), Failure> {
    let storage = |words: String| (PIPELINE_ERR_STORAGE, words);
    let encoder = Encoder::open(options.encoding)?;
    let nonce = random().map_err(|error| (PIPELINE_ERR_SYSTEM, format!("getrandom: {error}")))?;
    let (events_in, events) = unbounded_channel();
    let (jobs, jobs_out) = unbounded_channel();
    let client = connection::connect(&options, status, events_in).await.map_err(storage)?;
    let inbox = client.new_inbox();
    let acks = client.subscribe(format!("{inbox}.*")).await.map_err(|error| storage(error.to_string()))?;
    let found = if options.start_offline {
        None
    } else {
        Some(stream::find(&client, &options).await.map_err(storage)?)
    };
    let (options, status) = (Arc::new(options), Arc::clone(status));
    let mut worker = Worker::new(options, status, client, acks, inbox, nonce, encoder, jobs_out, events);
    if let Some(found) = found {
        worker.stream_is_known(found);
    }
    Ok((worker, jobs))
}

/// 128 random bits.
fn random() -> std::io::Result<u128> {
    let mut bytes = [0u8; 16];
    // SAFETY: the call writes at most so many bytes. For 16 bytes it is not interrupted, and gives all or none.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == bytes.len() as isize {
        Ok(u128::from_ne_bytes(bytes))
    } else {
        Err(std::io::Error::last_os_error())
    }
}
