//! Encodes row groups and writes them, on a thread of its own.

use super::column::{Column, Values};
use super::rows::Rows;
use crate::args::Compression;
use crate::export::target::Output;
use crate::failure::Failure;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, SchemaDescriptor, TypePtr};
use std::collections::HashSet;
use std::hash::Hash;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

/// So many values of a column are looked at, to choose its encoding.
const SAMPLES: usize = 4096;
/// What an encoded page has at most.
const PAGE: usize = 1 << 20;

/// The name under which the file says what is the same for all events of a run.
const RUNS: &str = "capture_pipeline.runs";

/// Writes the row groups that come, until no more do; then the file's end. `runs`: what is said of the runs, in JSON.
pub fn run(
    output: Output,
    schema: TypePtr,
    runs: String,
    compression: Compression,
    full: Receiver<Rows>,
    written: SyncSender<Rows>,
) -> std::result::Result<(), Failure> {
    let mut output = Some(BufWriter::with_capacity(1 << 20, output));
    let mut writer: Option<SerializedFileWriter<BufWriter<Output>>> = None;
    let descriptor = SchemaDescriptor::new(Arc::clone(&schema));
    let told = |error: ParquetError| match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Failure::of(std::path::Path::new("Parquet file"), &error),
            Err(error) => Failure::new(format!("Parquet: {error}")),
        },
        error => Failure::new(format!("Parquet: {error}")),
    };
    let mut open = |columns: &[Column]| {
        let properties = Arc::new(properties(&descriptor, columns, &runs, compression));
        match output.take() {
            Some(output) => SerializedFileWriter::new(output, Arc::clone(&schema), properties),
            None => Err(ParquetError::General("opened twice".into())),
        }
    };
    for mut rows in full {
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(open(rows.columns()).map_err(told)?),
        };
        write(writer, &mut rows).map_err(told)?;
        rows.clear();
        // Nobody waits for it if the journal has ended.
        let _ = written.send(rows);
    }
    let writer = match writer {
        Some(writer) => writer,
        // A file without rows has its schema.
        None => open(&[]).map_err(told)?,
    };
    let mut output = writer.into_inner().map_err(told)?;
    output.flush().map_err(|error| output.get_ref().failed(&error))
}

/// The encodings of the columns, chosen by the first row group.
fn properties(
    schema: &SchemaDescriptor,
    columns: &[Column],
    runs: &str,
    compression: Compression,
) -> WriterProperties {
    let codec = match compression {
        Compression::None | Compression::Zlib => Codec::UNCOMPRESSED,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("capture_pipeline {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new(RUNS.to_owned(), Some(runs.to_owned()))]))
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_data_page_size_limit(PAGE)
        .set_dictionary_page_size_limit(PAGE)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(8192);
    for (n, column) in columns.iter().enumerate() {
        builder = choose(builder, schema.column(n).path().clone(), column, compression);
    }
    builder.build()
}

fn choose(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    column: &Column,
    compression: Compression,
) -> WriterPropertiesBuilder {
    let is_few = match &column.values {
        Values::Int32(values) => are_few(values.iter()),
        Values::Int64(values) => are_few(values.iter()),
        Values::Float(values) => are_few(values.iter().map(|value| value.to_bits())),
        Values::Double(values) => are_few(values.iter().map(|value| value.to_bits())),
        Values::Bool(_) => false,
        Values::Bytes(bytes, ends) => {
            let starts = std::iter::once(&0).chain(ends);
            are_few(starts.zip(ends).map(|(start, end)| &bytes[*start..*end]))
        }
    };
    let encoding = match &column.values {
        // Differences are short where numbers rise; as such they are also what compresses well.
        Values::Int64(values) if compression == Compression::Zstd || is_rising(values) => {
            Encoding::DELTA_BINARY_PACKED
        }
        _ => Encoding::PLAIN,
    };
    let builder = builder
        .set_column_dictionary_enabled(path.clone(), is_few)
        .set_column_encoding(path.clone(), encoding);
    match &column.values {
        Values::Bytes(..) => builder.set_column_statistics_enabled(path, EnabledStatistics::None),
        _ => builder,
    }
}

/// Whether few of the values differ.
fn are_few<T: Hash + Eq>(values: impl Iterator<Item = T>) -> bool {
    let mut count = 0;
    let seen: HashSet<T> = values.take(SAMPLES).inspect(|_| count += 1).collect();
    seen.len() * 4 <= count
}

fn is_rising(values: &[i64]) -> bool {
    values.iter().take(SAMPLES).is_sorted()
}

/// Writes a row group.
fn write(writer: &mut SerializedFileWriter<BufWriter<Output>>, rows: &mut Rows) -> Result<()> {
    let mut group = writer.next_row_group()?;
    let count = rows.count();
    for (column, rows) in rows.columns_with_rows() {
        let Some(mut into) = group.next_column()? else { break };
        write_column(&mut into, column, rows, count)?;
        into.close()?;
    }
    group.close().map(drop)
}

/// So many rows are written at a time; of texts and bytes no more than a page or one value, because what is written at once becomes one page.
const ROWS: usize = 8192;

/// Writes a column, which has a level for each of `rows`, in a row group of `count` rows.
fn write_column(
    into: &mut SerializedColumnWriter<'_>,
    column: &mut Column,
    rows: Option<&[u32]>,
    count: usize,
) -> Result<()> {
    let levels = Levels { all: &column.levels, present: column.present, rows, count };
    match &mut column.values {
        Values::Int32(values) => write_values(into.typed::<Int32Type>(), values, levels),
        Values::Int64(values) => write_values(into.typed::<Int64Type>(), values, levels),
        Values::Float(values) => write_values(into.typed::<FloatType>(), values, levels),
        Values::Double(values) => write_values(into.typed::<DoubleType>(), values, levels),
        Values::Bool(values) => write_values(into.typed::<BoolType>(), values, levels),
        // All columns of bytes are optional.
        Values::Bytes(bytes, ends) => {
            // The values share the memory of all.
            let shared = ByteArray::from(std::mem::take(bytes));
            let mut values = Vec::with_capacity(ROWS);
            let (mut ends, mut start, present) = (ends.iter(), 0, levels.present);
            levels.each(|mut levels, _| {
                while !levels.is_empty() {
                    values.clear();
                    let (mut rows, first) = (0, start);
                    while rows < levels.len() && start - first < PAGE {
                        if levels[rows] == present
                            && let Some(end) = ends.next()
                        {
                            values.push(shared.slice(start, end - start));
                            start = *end;
                        }
                        rows += 1;
                    }
                    let (these, rest) = levels.split_at(rows);
                    into.typed::<ByteArrayType>().write_batch(&values, Some(these), None)?;
                    levels = rest;
                }
                Ok(())
            })
        }
    }
}

fn write_values<T: DataType>(
    into: &mut ColumnWriterImpl<'_, T>,
    values: &[T::T],
    levels: Levels<'_>,
) -> Result<()> {
    if levels.present == 0 {
        return into.write_batch(values, None, None).map(drop);
    }
    let mut rest = values;
    levels.each(|levels, there| {
        let (values, more) = rest.split_at_checked(there).unwrap_or((rest, &[]));
        rest = more;
        into.write_batch(values, Some(levels), None).map(drop)
    })
}

/// The levels of a column in a row group.
#[derive(Clone, Copy)]
struct Levels<'a> {
    /// Those of `rows`, or of all rows. A row that is not among them has level 0.
    all: &'a [i16],
    present: i16,
    rows: Option<&'a [u32]>,
    count: usize,
}

impl Levels<'_> {
    /// Shows the levels of all rows to `write`, some rows at a time, each time with the number of values that are there.
    fn each(self, mut write: impl FnMut(&[i16], usize) -> Result<()>) -> Result<()> {
        let there = |levels: &[i16]| levels.iter().filter(|level| **level == self.present).count();
        let Some(rows) = self.rows else {
            return self.all.chunks(ROWS).try_for_each(|levels| write(levels, there(levels)));
        };
        let mut of_rows = rows.iter().zip(self.all).peekable();
        let mut levels = [0; ROWS];
        for start in (0..self.count).step_by(ROWS) {
            let levels = &mut levels[..ROWS.min(self.count - start)];
            levels.fill(0);
            let end = (start + levels.len()) as u32;
            while let Some((row, level)) = of_rows.next_if(|(row, _)| **row < end) {
                levels[*row as usize - start] = *level;
            }
            write(levels, there(levels))?;
        }
        Ok(())
    }
}
