//! Lines of source, and inlined functions, by the debug information of a file.

use super::demangle::demangle;
use crate::ledger::clean;
use addr2line::Loader;
use std::path::Path;
use std::rc::Rc;

/// A function's name, and the `file:line` in it.
pub type Frame = (Option<Rc<str>>, Option<Rc<str>>);

pub struct Lines(Loader);

impl Lines {
    /// `None`: the file cannot be read.
    pub fn read(path: &Path) -> Option<Self> {
        path.metadata().is_ok_and(|metadata| metadata.is_file()).then(|| Loader::new(path).ok().map(Self))?
    }

    /// The functions at an address, the innermost first, with `file:line`. Nothing if there is no debug information.
    pub fn find(&self, address: u64) -> Vec<Frame> {
        let mut found = Vec::new();
        let Ok(mut frames) = self.0.find_frames(address) else { return found };
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let line = frame.location.as_ref().and_then(|location| {
                let file = Path::new(location.file?).file_name()?.to_string_lossy().into_owned();
                Some(clean(&format!("{file}:{}", location.line?)))
            });
            found.push((name.map(|name| demangle(&name).into()), line.map(Rc::from)));
        }
        found
    }
}
