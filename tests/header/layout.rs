//! The order of the header: `include/capture_pipeline.h.in` has its text, and a place for each item that cbindgen finds.
//!
//! A place is a line with a name between two `@`. `@PIPELINE_ERR_*@` is for every constant with that prefix that has no place of its own. A
//! `?` behind a name allows that there is no such item. `@types@` is for the names of all structs, so that they can be used before they are
//! declared.

use super::root;
use std::collections::BTreeMap;
use std::fs;

/// Something that the header declares: a constant, a struct or a function.
pub struct Item {
    pub name: String,
    /// Its comment and its declaration.
    pub lines: Vec<String>,
}

impl Item {
    fn is_struct(&self) -> bool {
        self.name.ends_with("_t") && self.lines.iter().any(|line| line.starts_with("typedef struct "))
    }

    /// The declaration without the comment.
    pub fn declaration(&self) -> &[String] {
        let comment = self.lines.iter().position(|line| line.ends_with("*/")).map_or(0, |at| at + 1);
        &self.lines[comment..]
    }

    /// The comment in one line.
    pub fn comment(&self) -> String {
        let lines = &self.lines[..self.lines.len() - self.declaration().len()];
        let words = lines.iter().map(|line| line.trim_matches([' ', '*', '/']));
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}

/// Takes a header apart.
pub fn items(header: &[String]) -> Vec<Item> {
    let mut found = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut name = None;
    let mut in_struct = false;
    for line in header {
        if lines.is_empty() && !line.starts_with("/**") && name_of(line).is_none() {
            continue;
        }
        lines.push(line.clone());
        name = name.or_else(|| name_of(line));
        in_struct = (in_struct || line.ends_with(" {")) && !line.starts_with('}');
        if name.is_some() && !in_struct && (line.ends_with(';') || line.starts_with("#define ")) {
            found.extend(name.take().map(|name| Item { name, lines: std::mem::take(&mut lines) }));
        }
    }
    found
}

/// The name that a line begins to declare.
fn name_of(line: &str) -> Option<String> {
    let word =
        |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().map(str::to_owned);
    if let Some(tail) = line.strip_prefix("#define ").or_else(|| line.strip_prefix("typedef struct ")) {
        return word(tail);
    }
    if line.starts_with([' ', '#', '/', '}']) {
        return None;
    }
    let (head, _) = line.split_once('(')?;
    head.rsplit([' ', '*']).next().map(str::to_owned)
}

/// The header, with every item in its place.
pub fn lay_out(items: Vec<Item>) -> String {
    let template = fs::read_to_string(root().join("include/capture_pipeline.h.in")).expect("the template");
    let types = types(&items);
    let order: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
    let mut left: BTreeMap<String, Item> = items.into_iter().map(|item| (item.name.clone(), item)).collect();
    // A prefix gets what has no place of its own.
    let named: Vec<&str> =
        template.lines().filter_map(place).map(|name| name.trim_end_matches('?')).collect();
    let mut lines: Vec<String> = Vec::new();
    for line in template.lines() {
        let Some(name) = place(line) else {
            lines.push(line.to_owned());
            continue;
        };
        if name == "types" {
            lines.extend(types.iter().cloned());
            continue;
        }
        let wanted: Vec<&str> = match name.strip_suffix('*') {
            Some(prefix) => order
                .iter()
                .map(String::as_str)
                .filter(|&each| each.starts_with(prefix) && !named.contains(&each))
                .collect(),
            None => vec![name.trim_end_matches('?')],
        };
        assert!(!wanted.is_empty(), "capture_pipeline.h.in: there is nothing for {line}");
        for wanted in wanted {
            match left.remove(wanted) {
                Some(item) => {
                    lines.extend(item.lines.iter().map(|line| defined(line, item.is_struct())));
                    lines.push(String::new());
                }
                None => assert!(
                    name.ends_with('?'),
                    "capture_pipeline.h.in: {line} is not declared, or has two places"
                ),
            }
        }
    }
    let without: Vec<String> = left.into_keys().filter(|name| !OPAQUE.contains(&name.as_str())).collect();
    assert!(without.is_empty(), "capture_pipeline.h.in has no place for {without:?}");
    let mut text = lines.join("\n") + "\n";
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

fn place(line: &str) -> Option<&str> {
    line.strip_prefix('@')?.strip_suffix('@')
}

/// Structs whose members programs do not see.
const OPAQUE: [&str; 5] = [
    "pipeline_t",
    "pipeline_producer_t",
    "pipeline_reader_t",
    "pipeline_message_encoder_t",
    "pipeline_message_reader_t",
];

/// A struct's definition without the typedef, which stands among the types.
fn defined(line: &str, in_struct: bool) -> String {
    match line.strip_prefix("typedef ") {
        Some(tail) if in_struct => tail.to_owned(),
        _ if in_struct && line.starts_with("} ") => "};".to_owned(),
        _ => line.to_owned(),
    }
}

/// A typedef for each struct, with the first sentence of its comment.
fn types(items: &[Item]) -> Vec<String> {
    let structs = items.iter().filter(|item| item.is_struct());
    structs
        .flat_map(|item| {
            let comment = item.comment();
            let sentence = comment.split(". ").next().unwrap_or_default().trim_end_matches('.');
            let mut lines = super::comment("", vec![format!("{sentence}.")]);
            lines.push(format!("typedef struct {0} {0};", item.name));
            lines
        })
        .collect()
}
