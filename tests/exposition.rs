//! The tables of `docs/metrics.md` are those of the sources. `UPDATE_METRICS=1 cargo test --test exposition` writes them anew.

use capture_pipeline::exposition::{LEFT_OUT, documented};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// How long a line of a table may be.
const LINE: usize = 112;

/// The table between its two marks, written anew.
fn replaced(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).expect("the mark of the table");
    let (_, after) = rest.split_once(&end).expect("the mark of its end");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

fn tables() -> Vec<(String, String)> {
    let of = |wanted: &str| {
        let mut table = "| metric | kind | from |\n| --- | --- | --- |\n".to_owned();
        for metric in documented().iter().filter(|metric| metric.table == wanted) {
            writeln!(table, "| `{}` | {} | `{}` |", metric.name, metric.kind.word(), metric.field)
                .expect("a text");
        }
        (format!("metrics of a {wanted}"), table)
    };
    let mut left_out = "| member | why it is no metric |\n| --- | --- |\n".to_owned();
    for (field, why) in LEFT_OUT {
        writeln!(left_out, "| `{field}` | {why} |").expect("a text");
    }
    vec![of("pipeline"), of("writer"), of("process"), ("left out".to_owned(), left_out)]
}

#[test]
fn the_documentation_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = fs::read_to_string(&path).expect("docs/metrics.md");
    let mut wanted = document.clone();
    for (name, table) in tables() {
        for line in table.lines() {
            assert!(line.len() <= LINE, "{} bytes: {line}", line.len());
        }
        wanted = replaced(&wanted, &name, &table);
    }
    if std::env::var_os("UPDATE_METRICS").is_some() {
        fs::write(&path, &wanted).expect("docs/metrics.md can be written");
    } else {
        assert!(document == wanted, "docs/metrics.md differs: UPDATE_METRICS=1 cargo test --test exposition");
    }
}
