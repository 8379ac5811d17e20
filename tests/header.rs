//! What is generated from the sources: the C header, and the lists of fields in the Erlang application. Both are committed, and the
//! tests compare them. `UPDATE_HEADER=1 cargo test --test header` (or `make header`) writes them anew.

#[path = "header/bindings.rs"]
mod bindings;
#[path = "header/layout.rs"]
mod layout;
#[path = "header/lists.rs"]
mod lists;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How long a line of the header may be.
const LINE: usize = 110;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is generated, each with the file that has it.
struct Generated {
    header: String,
    files: [(&'static str, String); 4],
}

fn generated() -> &'static Generated {
    static GENERATED: OnceLock<Generated> = OnceLock::new();
    GENERATED.get_or_init(generate)
}

/// The header as the sources have it now.
fn header() -> &'static str {
    &generated().header
}

fn generate() -> Generated {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    config.export.exclude.extend(inner_constants());
    let lists = lists::written_out();
    let bindings = cbindgen::Builder::new()
        .with_crate(root())
        .with_src(&lists)
        .with_config(config)
        .generate()
        .expect("cbindgen cannot read the crate");
    let mut raw = Vec::new();
    bindings.write(&mut raw);
    let _ = fs::remove_file(lists);
    let items = layout::items(&for_c_readers(&String::from_utf8(raw).expect("a header in UTF-8")));
    let (tables, types) = (bindings::nif_tables(&items), bindings::erlang_types(&items));
    let kinds = bindings::kind_names(&items);
    let header = layout::lay_out(items);
    let files = [
        ("include/capture_pipeline.h", header.clone()),
        ("bindings/erlang/c_src/maps/lists.h", tables),
        ("bindings/erlang/src/elixir_scope_capture_pipeline_lists.hrl", types),
        ("bindings/erlang/src/elixir_scope_capture_pipeline_kind.hrl", kinds),
    ];
    Generated { header, files }
}

/// The public constants that are for Rust only: those that do not have the C prefix.
fn inner_constants() -> Vec<String> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split(':').next());
        found.extend(names.filter(|name| !name.starts_with("PIPELINE_")).map(str::to_owned));
    }
    found
}

/// Turns Rust's way of writing into C's: no `# Safety` headings, no `struct` where the typedef will do, one line for
/// short comments and declarations.
fn for_c_readers(raw: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = raw.lines().map(str::trim_end).peekable();
    while let Some(line) = rest.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let word = line.trim_start();
        if word == "/**" {
            let mut text = Vec::new();
            for inner in rest.by_ref() {
                let inner = inner.trim_start();
                if inner == "*/" {
                    break;
                }
                text.push(inner.trim_start_matches('*').trim().to_owned());
            }
            lines.extend(comment(indent, text));
        } else if indent.is_empty()
            && word.contains("(")
            && word.ends_with(',')
            && !word.starts_with(['#', '/'])
        {
            // A declaration over several lines.
            let mut parts = vec![line.to_owned()];
            for inner in rest.by_ref() {
                parts.push(inner.to_owned());
                if inner.ends_with(");") {
                    break;
                }
            }
            let joined = parts.iter().map(|part| part.trim()).collect::<Vec<_>>().join(" ");
            if joined.len() <= LINE { lines.push(joined) } else { lines.extend(parts) }
        } else if word.is_empty() && lines.last().is_some_and(String::is_empty) {
            // One blank line is enough.
        } else {
            lines.push(line.to_owned());
        }
    }
    let mut text = lines.join("\n").replace("const struct pipeline_", "const pipeline_");
    text = text.replace("(struct pipeline_", "(pipeline_").replace(" struct pipeline_", " pipeline_");
    text = text.replace("typedef pipeline_", "typedef struct pipeline_");
    text.lines().map(str::to_owned).collect()
}

/// A documentation comment in C's manner, its paragraphs wrapped anew.
fn comment(indent: &str, text: Vec<String>) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut open = false;
    for line in text {
        if line.is_empty() {
            open = false;
        } else if line == "# Safety" {
            paragraphs.push("Requires:".to_owned());
            open = true;
        } else if open && !line.starts_with("- ") {
            let last = paragraphs.len() - 1;
            paragraphs[last] += &format!(" {line}");
        } else {
            paragraphs.push(line);
            open = true;
        }
    }
    if let [only] = paragraphs.as_slice()
        && indent.len() + only.len() + 7 <= LINE
    {
        return vec![format!("{indent}/** {only} */")];
    }
    let mut out = vec![format!("{indent}/**")];
    for (n, paragraph) in paragraphs.iter().enumerate() {
        if n > 0 && !paragraph.starts_with("- ") {
            out.push(format!("{indent} *"));
        }
        let mut line = format!("{indent} *");
        for word in paragraph.split(' ') {
            if line.len() + 1 + word.len() > LINE {
                out.push(std::mem::replace(&mut line, format!("{indent} *")));
            }
            line += &format!(" {word}");
        }
        out.push(line);
    }
    out.push(format!("{indent} */"));
    out
}

/// The functions that a header text declares.
fn declared(header: &str) -> BTreeSet<String> {
    header
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('('))
        .filter_map(|(head, _)| head.rsplit([' ', '*']).next())
        .map(str::to_owned)
        .collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory").map(|e| e.expect("a directory entry").path())
    {
        if entry.is_dir() {
            rust_files(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

/// An exported function as its source has it.
struct Exported {
    name: String,
    file: PathBuf,
    doc: String,
}

/// Everything in `src` that is exported under its own name.
fn exported() -> Vec<Exported> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let lines: Vec<&str> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[unsafe(no_mangle)]") {
            let name = lines[at..]
                .iter()
                .find_map(|line| line.split_once("fn ").and_then(|(_, tail)| tail.split(['(', '<']).next()))
                .expect("a function behind no_mangle");
            let above = lines[..at].iter().rev().take_while(|l| l.starts_with("///") || l.starts_with("#["));
            let mut doc: Vec<&str> = above.filter_map(|line| line.strip_prefix("///")).collect();
            doc.reverse();
            found.push(Exported { name: name.to_owned(), file: file.clone(), doc: doc.join(" ") });
        }
    }
    found
}

#[test]
fn the_committed_files_are_what_the_sources_say() {
    for (file, fresh) in &generated().files {
        let path = root().join(file);
        if std::env::var_os("UPDATE_HEADER").is_some() {
            fs::write(path, fresh).expect(file);
            continue;
        }
        let old = fs::read_to_string(path).expect(file);
        if old == *fresh {
            continue;
        }
        let differs = old.lines().zip(fresh.lines()).position(|(a, b)| a != b);
        let at = differs.unwrap_or_else(|| old.lines().count().min(fresh.lines().count()));
        let around =
            |text: &str| text.lines().skip(at).take(5).map(|l| format!("    {l}\n")).collect::<String>();
        panic!(
            "{file} is stale from line {}: run `make header` and commit it.\ncommitted:\n{}now:\n{}",
            at + 1,
            around(&old),
            around(fresh)
        );
    }
}

#[test]
fn the_lists_have_the_size_of_their_structs() {
    use capture_pipeline::ffi::config::pipeline_config_t;
    use capture_pipeline::metrics::{pipeline_health_t, pipeline_metrics_t, pipeline_writer_metrics_t};
    let size = |name: &str| -> usize {
        let all = lists::structs();
        let fields = &all.iter().find(|each| each.name == name).expect(name).fields;
        4 + fields.iter().map(|field| field.c_size()).sum::<usize>()
    };
    assert_eq!(size("pipeline_config_t"), size_of::<pipeline_config_t>());
    assert_eq!(size("pipeline_metrics_t"), size_of::<pipeline_metrics_t>());
    assert_eq!(size("pipeline_writer_metrics_t"), size_of::<pipeline_writer_metrics_t>());
    assert_eq!(size("pipeline_health_t"), size_of::<pipeline_health_t>());
}

#[test]
fn every_exported_function_is_in_src_ffi_documented_and_in_the_header() {
    // (capture_pipeline_fast.h is written by hand, and may declare functions, too.)
    let fast = fs::read_to_string(root().join("include/capture_pipeline_fast.h")).expect("the other header");
    let mut declared = declared(header());
    declared.extend(self::declared(&fast).into_iter().filter(|name| name.starts_with("pipeline_producer_")));
    let exported = exported();
    assert!(exported.len() > 30, "only {} exported functions found: is the search broken?", exported.len());
    for function in &exported {
        let Exported { name, file, doc } = function;
        let file = file.strip_prefix(root()).expect("a file of this crate").display();
        assert!(file.to_string().starts_with("src/ffi/"), "{name} is exported from {file}, not from src/ffi");
        assert!(!doc.trim().is_empty(), "{name} in {file} has no documentation");
        assert!(
            doc.contains("Since "),
            "the documentation of {name} in {file} does not say since when it is there"
        );
        assert!(declared.contains(name), "{name} in {file} is not in the header");
    }
    let names: BTreeSet<String> = exported.into_iter().map(|function| function.name).collect();
    assert_eq!(names, declared, "exported functions (left) and those in the header (right)");
}

#[test]
fn every_struct_member_and_constant_in_the_header_is_documented() {
    let header = header();
    let lines: Vec<&str> = header.lines().collect();
    let mut in_struct = false;
    let mut seen = 0;
    for (at, line) in lines.iter().enumerate() {
        let constant = line.starts_with("#define PIPELINE_") && !line.contains('(');
        let member = in_struct
            && line.starts_with("    ")
            && line.ends_with(';')
            && !line.trim_start().starts_with('*');
        if constant || member {
            // A member may begin some lines higher, if it is a long function pointer.
            let first =
                (0..=at).rev().find(|&n| n < at && (lines[n].ends_with("*/") || lines[n].ends_with(';')));
            let above = first.map(|n| lines[n]).unwrap_or_default();
            assert!(above.ends_with("*/"), "line {} has no comment: {line}", at + 1);
            seen += 1;
        }
        in_struct = (in_struct || line.starts_with("typedef struct") && line.ends_with('{'))
            && !line.starts_with('}');
    }
    assert!(seen > 100, "only {seen} members and constants found: is the search broken?");
}

#[test]
fn nothing_of_rusts_way_of_writing_is_left_in_the_header() {
    let header = header();
    for (at, line) in header.lines().enumerate() {
        for bad in
            ["# Safety", "# Errors", "[`", "`]", "::", "Option<", "cbindgen:", "usize", "&self", "\t", "//"]
        {
            assert!(!line.contains(bad), "line {} has {bad:?}: {line}", at + 1);
        }
        assert!(line.is_ascii(), "line {} is not ASCII: {line}", at + 1);
        if let Some(name) = line.strip_prefix("#define ") {
            let ours = name.starts_with("PIPELINE_") || name == "CAPTURE_PIPELINE_H";
            assert!(ours, "line {} defines a name without the prefix: {line}", at + 1);
        }
    }
}

#[test]
fn the_version_is_the_one_in_cargo_toml_everywhere() {
    let part = |text: &str| text.parse::<u32>().expect("a number in the version");
    let number = part(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + part(env!("CARGO_PKG_VERSION_MINOR")) * 1_000
        + part(env!("CARGO_PKG_VERSION_PATCH"));
    let header = header();
    let line =
        header.lines().find(|line| line.starts_with("#define PIPELINE_VERSION ")).expect("PIPELINE_VERSION");
    assert_eq!(line, format!("#define PIPELINE_VERSION {number}"));
    assert_eq!(capture_pipeline::ffi::version::pipeline_version(), number);
    // SAFETY: a static text that ends with a NUL.
    let text = unsafe { std::ffi::CStr::from_ptr(capture_pipeline::ffi::version::pipeline_version_string()) };
    assert_eq!(text.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
