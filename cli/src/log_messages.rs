//! The library's warnings and errors go to the standard error.

struct ToStandardError;

impl log::Log for ToStandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("capture-pipeline: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// From now on messages are printed.
pub fn print() {
    if log::set_logger(&ToStandardError).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}
