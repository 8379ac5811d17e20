//! Encodes row groups and writes them, on a thread of its own.

use super::column::{Column, Values};
use super::rows::Rows;
use crate::args::Compression;
use crate::export::target::Output;
use crate::failure::Failure;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
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

/// Writes the row groups that come, until no more do; then the file's end.
pub fn run(
    output: Output,
    schema: TypePtr,
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
        let properties = Arc::new(properties(&descriptor, columns, compression));
        match output.take() {
            Some(output) => SerializedFileWriter::new(output, Arc::clone(&schema), properties),
            None => Err(ParquetError::General("opened twice".into())),
        }
    };
    for mut rows in full {
        let columns = rows.columns();
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(open(columns).map_err(told)?),
        };
        write(writer, columns).map_err(told)?;
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
fn properties(schema: &SchemaDescriptor, columns: &[Column], compression: Compression) -> WriterProperties {
    let codec = match compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("capture_pipeline {}", env!("CARGO_PKG_VERSION")))
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
fn write(writer: &mut SerializedFileWriter<BufWriter<Output>>, columns: &mut [Column]) -> Result<()> {
    let mut group = writer.next_row_group()?;
    for column in columns {
        let Some(mut into) = group.next_column()? else { break };
        write_column(&mut into, column)?;
        into.close()?;
    }
    group.close().map(drop)
}

/// So many rows of texts and bytes are written at a time.
const ROWS: usize = 8192;

fn write_column(into: &mut SerializedColumnWriter<'_>, column: &mut Column) -> Result<()> {
    let levels = (column.present > 0).then_some(column.levels.as_slice());
    match &mut column.values {
        Values::Int32(values) => into.typed::<Int32Type>().write_batch(values, levels, None),
        Values::Int64(values) => into.typed::<Int64Type>().write_batch(values, levels, None),
        Values::Float(values) => into.typed::<FloatType>().write_batch(values, levels, None),
        Values::Double(values) => into.typed::<DoubleType>().write_batch(values, levels, None),
        Values::Bool(values) => into.typed::<BoolType>().write_batch(values, levels, None),
        // All columns of bytes are optional.
        Values::Bytes(bytes, ends) => {
            // The values share the memory of all.
            let shared = ByteArray::from(std::mem::take(bytes));
            let mut values = Vec::with_capacity(ROWS);
            let (mut ends, mut start, mut written) = (ends.iter(), 0, 0);
            for levels in column.levels.chunks(ROWS) {
                values.clear();
                let count = levels.iter().filter(|level| **level == column.present).count();
                values.extend(ends.by_ref().take(count).map(|end| {
                    let value = shared.slice(start, end - start);
                    start = *end;
                    value
                }));
                written += into.typed::<ByteArrayType>().write_batch(&values, Some(levels), None)?;
            }
            Ok(written)
        }
    }
    .map(drop)
}
