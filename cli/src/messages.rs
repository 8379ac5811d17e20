//! Messages on the standard error: the command's own, and the library's warnings and errors.

use std::fmt::Display;
use std::io::Write;

/// Prints a message on the standard error. Nobody may read that any more: then there is nobody to tell.
///
/// A message may have the name of a kind or a file in it, which anybody may have chosen. Characters in it that would change the terminal are escaped.
pub fn tell(message: impl Display) {
    let mut line = String::from("capture-pipeline: ");
    for character in message.to_string().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

struct ToStandardError;

impl log::Log for ToStandardError {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            tell(record.args());
        }
    }

    fn flush(&self) {}
}

/// From now on the library's messages are printed.
pub fn of_the_library() {
    if log::set_logger(&ToStandardError).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}
