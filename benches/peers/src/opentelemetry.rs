//! OpenTelemetry's batch processor for log records, with an exporter that stores.

use crate::contender::{Burst, Contender, Setup};
use crate::{QUEUE_EVENTS, wait};
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLogger, SdkLoggerProvider,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const BATCH: usize = 500;

#[derive(Debug)]
struct Counted(AtomicU64);

struct Exporter {
    setup: Setup,
    stored: Arc<Counted>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the storage")
    }
}

impl LogExporter for Exporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut count = 0;
        for (record, _) in batch.iter() {
            let Some(AnyValue::Bytes(bytes)) = record.body() else { panic!("the body is not bytes") };
            self.setup.store_one(bytes);
            count += 1;
        }
        self.stored.0.fetch_add(count, Ordering::Release);
        Ok(())
    }
}

pub struct Batched {
    provider: SdkLoggerProvider,
    captured: AtomicU64,
    stored: Arc<Counted>,
    limit: u64,
}

impl Contender for Batched {
    type Handle = SdkLogger;
    fn start(setup: Setup) -> Self {
        let stored = Arc::new(Counted(AtomicU64::new(0)));
        let limit = QUEUE_EVENTS * setup.threads as usize;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(limit)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(Duration::from_millis(5))
            .build();
        let exporter = Exporter { setup, stored: Arc::clone(&stored) };
        let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkLoggerProvider::builder().with_log_processor(processor).build();
        Self { provider, captured: AtomicU64::new(0), stored, limit: limit as u64 }
    }
    fn open(&'static self, _: u32) -> Self::Handle {
        self.provider.logger("bench")
    }
    fn capture(&'static self, logger: &mut Self::Handle, burst: &Burst) {
        // The processor drops events when its queue is full. So the queue is never filled.
        let captured = self.captured.fetch_add(u64::from(burst.count), Ordering::Relaxed);
        let mut spins = 0;
        while captured + u64::from(burst.count) > self.stored.0.load(Ordering::Acquire) + self.limit / 2 {
            wait(&mut spins);
        }
        for i in 0..burst.count {
            let mut record = logger.create_log_record();
            record.set_timestamp(SystemTime::now());
            record.set_severity_number(Severity::Info);
            record.set_body(AnyValue::Bytes(Box::new(burst.payload(i).to_vec())));
            logger.emit(record);
        }
    }
    fn stop(&'static self) {
        self.provider.shutdown().expect("the provider shuts down");
    }
}
