//! What is seen as tables of text.

use super::Shown;
use super::cells;
use crate::commands::table::Table;

/// Appends the tables: of the pipelines, of their writers, of their ring buffers.
pub fn tables(shown: &Shown<'_>, into: &mut Vec<u8>) {
    let mut pipelines = Table::new(&cells::PIPELINES);
    let mut writers = Table::new(&with_pipeline(&cells::WRITERS));
    let mut rings = Table::new(&with_pipeline(&cells::RINGS));
    for pipeline in &shown.pipelines {
        pipelines.add(cells::pipeline(pipeline));
        let whose = [cells::name(pipeline), pipeline.look.owner.pid.to_string()];
        for row in cells::writers(pipeline) {
            writers.add(whose.iter().cloned().chain(row).collect());
        }
        for ring in shown.rings(pipeline) {
            rings.add(whose.iter().cloned().chain(cells::ring(&ring)).collect());
        }
    }
    rings.drop_empty_column();
    for table in [&pipelines, &writers, &rings] {
        if !table.is_empty() {
            if !into.is_empty() {
                into.push(b'\n');
            }
            table.write("", into);
        }
    }
}

fn with_pipeline(titles: &[&'static str]) -> Vec<&'static str> {
    ["PIPELINE", ">PID"].iter().chain(titles).copied().collect()
}
