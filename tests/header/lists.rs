//! The structs that the sources declare by a list: `pipeline_config_t` (src/config/fields.rs), the metrics and the health (src/metrics.rs).
//! cbindgen does not expand macros, so it gets them written out.

use super::root;
use std::fs;
use std::path::{Path, PathBuf};

/// A struct in C.
pub struct Struct {
    pub name: String,
    doc: Vec<String>,
    pub fields: Vec<Field>,
}

/// A field of it.
pub struct Field {
    doc: Vec<String>,
    pub name: String,
    /// The type in Rust, as the list has it.
    pub rust: String,
    /// What the list says behind the `=`.
    pub rest: String,
}

impl Field {
    /// The type in C, in Rust's words.
    pub fn c_type(&self) -> &str {
        match self.rust.as_str() {
            "String" | "Option<String>" | "NoFiles" => "*const c_char",
            "Option<u64>" => "u64",
            plain if plain.starts_with(['u', 'i', 'f', '[']) => plain,
            _choice_or_reserved => "u32",
        }
    }

    /// The size of that type.
    pub fn c_size(&self) -> usize {
        match self.c_type() {
            "*const c_char" => size_of::<*const u8>(),
            "[c_char; 256]" => 256,
            "u64" | "f64" => 8,
            _ => 4,
        }
    }
}

/// Every struct that is declared by a list.
pub fn structs() -> Vec<Struct> {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let config = read("src/config/fields.rs");
    let list = config.split_once("$then! {").and_then(|(_, tail)| tail.split("\n        }").next());
    let mut all = vec![Struct {
        name: "pipeline_config_t".to_owned(),
        doc: doc_of(&read("src/ffi/config.rs"), "pub struct pipeline_config_t {"),
        fields: fields(list.expect("the list of the configuration's fields")),
    }];
    for list in read("src/metrics.rs").split("\nlist! {").skip(1) {
        let list = list.split("\n}").next().expect("the end of a list");
        let name = list.split(" as ").nth(1).and_then(|tail| tail.split(',').next()).expect("a name in C");
        all.push(Struct {
            name: name.to_owned(),
            doc: doc_of(list, &format!(" as {name},")),
            fields: fields(list),
        });
    }
    assert_eq!(all.len(), 4, "structs that are declared by a list");
    all
}

/// The documentation above the line that has `what`.
fn doc_of(text: &str, what: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(what)).expect(what);
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    let mut doc: Vec<String> =
        above.filter(|line| line.starts_with("///")).map(|l| (*l).to_owned()).collect();
    doc.reverse();
    doc
}

fn fields(list: &str) -> Vec<Field> {
    let mut found = Vec::new();
    let mut doc = Vec::new();
    for line in list.lines().map(str::trim) {
        if line.starts_with("///") {
            doc.push(line.to_owned());
            continue;
        }
        let doc = std::mem::take(&mut doc);
        let Some(entry) = line.strip_suffix(';') else { continue };
        let (head, rest) = entry.split_once(" = ").unwrap_or((entry, ""));
        let (name, rust) = head.split_once(": ").unwrap_or_else(|| panic!("not a field: {line}"));
        found.push(Field { doc, name: name.to_owned(), rust: rust.to_owned(), rest: rest.to_owned() });
    }
    found
}

/// Writes the structs to a file that cbindgen can read.
pub fn written_out() -> PathBuf {
    let mut text = String::new();
    let mut add = |line: &str| text += &format!("{line}\n");
    for each in structs() {
        each.doc.iter().for_each(|line| add(line));
        add(&format!("#[repr(C)] pub struct {} {{", each.name));
        add(&format!("/// `sizeof({})` in the caller's program. The caller sets it.", each.name));
        add("pub struct_size: u32,");
        for field in &each.fields {
            field.doc.iter().for_each(|line| add(line));
            add(&format!("pub {}: {},", field.name, field.c_type()));
        }
        add("}");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lists-{}.rs", std::process::id()));
    fs::write(&file, text).expect("a temporary file");
    file
}
