//! The functions in the symbol tables of an ELF file, or of its separate debug information where that is installed.

use super::demangle::demangle;
use object::{BinaryFormat, Object, ObjectSegment, ObjectSymbol, SymbolKind};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A file that is larger is not read: its path is what the traced process had mapped.
const LARGEST: u64 = 8 << 30;

#[derive(Debug)]
struct Symbol {
    address: u64,
    size: u64,
    name: String,
}

#[derive(Debug, Default)]
pub struct Module {
    /// Offset in the file, length, address.
    segments: Vec<(u64, u64, u64)>,
    symbols: Vec<Symbol>,
    names: RefCell<FxHashMap<u64, Rc<str>>>,
}

/// The bytes of a regular file.
fn bytes_of(path: &Path) -> Option<Vec<u8>> {
    let metadata = path.metadata().ok()?;
    let kind = metadata.file_type();
    (kind.is_file() && !kind.is_fifo() && metadata.len() <= LARGEST).then(|| std::fs::read(path).ok())?
}

impl Module {
    /// The functions of a file; none if it cannot be read.
    pub fn read(path: &Path) -> Self {
        bytes_of(path).and_then(|bytes| Self::parse(&bytes)).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let file = object::File::parse(bytes).ok()?;
        if file.format() != BinaryFormat::Elf {
            return None;
        }
        let segments = file.segments().map(|segment| {
            let (offset, length) = segment.file_range();
            (offset, length, segment.address())
        });
        let mut module = Self { segments: segments.collect(), ..Self::default() };
        module.add(&file);
        if file.symbols().next().is_none()
            && let Some(debug) =
                file.build_id().ok().flatten().and_then(separate_file).and_then(|path| bytes_of(&path))
            && let Ok(debug) = object::File::parse(&*debug)
        {
            module.add(&debug);
        }
        // Of several names of a function the shortest, and of those the first: as people call it.
        module
            .symbols
            .sort_by(|a, b| (a.address, a.name.len(), &a.name).cmp(&(b.address, b.name.len(), &b.name)));
        module.symbols.dedup_by_key(|symbol| symbol.address);
        Some(module)
    }

    fn add(&mut self, file: &object::File<'_>) {
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let is_function =
                symbol.kind() == SymbolKind::Text && !symbol.is_undefined() && symbol.size() != 0;
            if let (true, Ok(name)) = (is_function, symbol.name_bytes()) {
                let name = String::from_utf8_lossy(name).into_owned();
                self.symbols.push(Symbol { address: symbol.address(), size: symbol.size(), name });
            }
        }
    }

    /// The address, as the file has it, of what lies at an offset.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let inside = |(first, length, _): &&(u64, u64, u64)| offset.wrapping_sub(*first) < *length;
        self.segments.iter().find(inside).map(|(first, _, address)| (offset - first).wrapping_add(*address))
    }

    /// The demangled name of the function at an address.
    pub fn name(&self, address: u64) -> Option<Rc<str>> {
        let at = self.symbols.partition_point(|symbol| symbol.address <= address).checked_sub(1)?;
        let symbol = &self.symbols[at];
        if address - symbol.address >= symbol.size {
            return None;
        }
        let mut names = self.names.borrow_mut();
        Some(Rc::clone(names.entry(symbol.address).or_insert_with(|| demangle(&symbol.name).into())))
    }
}

/// Where distributions install the debug information of a file, by its build id.
fn separate_file(build_id: &[u8]) -> Option<PathBuf> {
    let digits: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, file) = digits.split_at_checked(2)?;
    Some(PathBuf::from(format!("/usr/lib/debug/.build-id/{folder}/{file}.debug")))
}
