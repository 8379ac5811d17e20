//! Names for return addresses: by the copy of the process's maps, the symbol tables of the files in it and, if wanted, their debug information.

mod demangle;
mod lines;
mod maps;
mod module;

use crate::ledger::clean;
use lines::Lines;
use maps::Maps;
use module::Module;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A function on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Demangled; `None`: the address is in no function of the symbol table.
    pub name: Option<Rc<str>>,
    /// The file of the module; `None`: the address is in none.
    pub module: Option<Rc<Path>>,
    /// The offset in that file; without a module, the address.
    pub offset: u64,
    /// `file:line`, if it was asked for and is known.
    pub line: Option<Rc<str>>,
}

impl Function {
    /// `function (module)`, `module+0x123`, or the address.
    pub fn show(&self) -> String {
        let module = self.module.as_ref().map(|path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            clean(&name.to_string_lossy())
        });
        let mut text = match (&self.name, module) {
            (Some(name), Some(module)) => format!("{name} ({module})"),
            (Some(name), None) => name.to_string(),
            (None, Some(module)) => format!("{module}+{:#x}", self.offset),
            (None, None) => format!("{:#x}", self.offset),
        };
        if let Some(line) = &self.line {
            text.push_str(&format!(" at {line}"));
        }
        text
    }

    /// As in a flame graph: the function alone.
    pub fn short(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.show(),
        }
    }
}

/// The symbol tables of files, for all processes.
#[derive(Default)]
pub struct Modules {
    modules: RefCell<FxHashMap<PathBuf, Rc<Module>>>,
    lines: RefCell<FxHashMap<PathBuf, Option<Rc<Lines>>>>,
    with_lines: bool,
}

impl Modules {
    /// `with_lines`: lines of source and inlined functions are wanted. Reading debug information takes time.
    pub fn new(with_lines: bool) -> Self {
        Self { with_lines, ..Self::default() }
    }

    fn of(&self, path: &Path) -> Rc<Module> {
        let mut modules = self.modules.borrow_mut();
        match modules.get(path) {
            Some(module) => Rc::clone(module),
            None => {
                let module = Rc::new(Module::read(path));
                modules.insert(path.to_path_buf(), Rc::clone(&module));
                module
            }
        }
    }

    fn lines_of(&self, path: &Path) -> Option<Rc<Lines>> {
        self.lines
            .borrow_mut()
            .entry(path.to_path_buf())
            .or_insert_with(|| Lines::read(path).map(Rc::new))
            .clone()
    }
}

/// The names of one process.
pub struct Symbols<'a> {
    maps: Maps,
    modules: &'a Modules,
    known: RefCell<FxHashMap<u64, Rc<[Function]>>>,
}

impl<'a> Symbols<'a> {
    /// `None`: there are no maps, and addresses stay addresses.
    pub fn new(maps: Option<&Path>, modules: &'a Modules) -> Self {
        let maps = maps.map(Maps::read).unwrap_or_default();
        Self { maps, modules, known: RefCell::default() }
    }

    /// The function that a return address is in. Where functions are inlined, and lines are wanted, it is the innermost.
    pub fn function(&self, address: u64) -> Function {
        self.functions(address)[0].clone()
    }

    /// The functions that a return address is in: several, the innermost first, where functions are inlined and lines are wanted.
    pub fn functions(&self, address: u64) -> Rc<[Function]> {
        let mut known = self.known.borrow_mut();
        Rc::clone(known.entry(address).or_insert_with(|| self.look_up(address).into()))
    }

    fn look_up(&self, address: u64) -> Vec<Function> {
        // The call is before the address that it returns to.
        let Some((path, offset)) = self.maps.find(address.wrapping_sub(1)) else {
            return vec![Function { name: None, module: None, offset: address, line: None }];
        };
        let module = self.modules.of(path);
        let of = |name: Option<Rc<str>>, line| Function { name, module: Some(Rc::clone(path)), offset, line };
        let place = module.address_of(offset);
        let name = place.and_then(|place| module.name(place));
        if self.modules.with_lines
            && let (Some(place), Some(lines)) = (place, self.modules.lines_of(path))
        {
            let found = lines.find(place);
            if !found.is_empty() {
                let last = found.len() - 1;
                let functions = found.into_iter().enumerate();
                // The outermost is the one in the symbol table; that has its name in full.
                return functions
                    .map(|(at, (inlined, line))| {
                        of(if at == last { name.clone().or(inlined) } else { inlined }, line)
                    })
                    .collect();
            }
        }
        vec![of(name, None)]
    }
}
