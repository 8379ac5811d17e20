//! The schema of the file.

use super::column::{Column, Values};
use crate::export::groups::Groups;
use capture_pipeline::kinds::{Integer, Type as FieldType};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{Type, TypePtr};
use std::sync::Arc;

/// The type of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnType {
    /// So many bits, signed or not.
    Integer(i8, bool),
    Float,
    Double,
    Bool,
    Text,
    Bytes,
    /// Nanoseconds since 1970.
    Time,
}

/// How many values of a column there may be beside the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Always,
    Optional,
}

/// The columns of every event, behind those of the fields. [`super::rows`] fills them by their places.
pub const OWN: [(&str, ColumnType, Presence); 14] = {
    use ColumnType::{Bytes, Double, Integer, Text, Time};
    use Presence::{Always, Optional};
    [
        // Times of 2^63 and more are missing; _time_ns has them all.
        ("_wall_time", Time, Optional),
        ("_time_ns", Integer(64, false), Always),
        ("_generation", Integer(64, false), Always),
        ("_ring_id", Integer(64, false), Always),
        ("_sequence", Integer(64, false), Always),
        ("_kind", Integer(32, false), Always),
        ("_kind_name", Text, Optional),
        ("_correlation_id", Integer(64, false), Always),
        ("_node_id", Integer(64, false), Always),
        ("_weight", Double, Always),
        ("_flags", Integer(32, false), Always),
        ("_tid", Integer(64, false), Optional),
        ("_thread_name", Text, Optional),
        ("_payload", Bytes, Optional),
    ]
};

impl ColumnType {
    /// Of a field.
    pub fn of(field: &FieldType) -> Self {
        match field {
            FieldType::Integer(integer) => Self::integer(*integer),
            FieldType::F32 => Self::Float,
            FieldType::F64 => Self::Double,
            FieldType::Bool => Self::Bool,
            FieldType::Address => Self::Integer(64, false),
            FieldType::String | FieldType::Enum { .. } => Self::Text,
            FieldType::Bytes => Self::Bytes,
        }
    }

    fn integer(integer: Integer) -> Self {
        Self::Integer(8 * integer.size() as i8, integer.signed())
    }

    fn physical(&self) -> Physical {
        match self {
            Self::Integer(64, _) | Self::Time => Physical::INT64,
            Self::Integer(..) => Physical::INT32,
            Self::Float => Physical::FLOAT,
            Self::Double => Physical::DOUBLE,
            Self::Bool => Physical::BOOLEAN,
            Self::Text | Self::Bytes => Physical::BYTE_ARRAY,
        }
    }

    fn logical(&self) -> Option<LogicalType> {
        match self {
            Self::Integer(bits, signed) => Some(LogicalType::integer(*bits, *signed)),
            Self::Time => Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
            Self::Text => Some(LogicalType::String),
            Self::Float | Self::Double | Self::Bool | Self::Bytes => None,
        }
    }

    /// An empty column of this type.
    pub fn column(&self, present: i16) -> Column {
        let values = match self.physical() {
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::INT64 => Values::Int64(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            _ => Values::Bytes(Vec::new(), Vec::new()),
        };
        Column::new(values, present)
    }

    fn node(&self, name: &str, presence: Presence) -> TypePtr {
        let repetition =
            if presence == Presence::Always { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let node = Type::primitive_type_builder(name, self.physical())
            .with_repetition(repetition)
            .with_logical_type(self.logical())
            .build();
        Arc::new(node.expect("the physical types have these logical ones"))
    }
}

fn group(name: &str, repetition: Option<Repetition>, fields: Vec<TypePtr>) -> TypePtr {
    let builder = Type::group_type_builder(name).with_fields(fields);
    let builder = match repetition {
        Some(repetition) => builder.with_repetition(repetition),
        None => builder,
    };
    Arc::new(builder.build().expect("a group may have any fields"))
}

/// The schema: the fields of the kinds, then what every event has.
pub fn schema(groups: &Groups) -> TypePtr {
    let mut nodes = Vec::new();
    for kind in &groups.list {
        let fields = kind.definition.fields.iter();
        let fields: Vec<TypePtr> = fields
            .map(|field| ColumnType::of(&field.field_type).node(&field.name, Presence::Optional))
            .collect();
        if groups.is_single {
            nodes.extend(fields);
        } else if !fields.is_empty() {
            nodes.push(group(&kind.name, Some(Repetition::OPTIONAL), fields));
        }
    }
    nodes.extend(OWN.iter().map(|(name, column, presence)| column.node(name, *presence)));
    group("events", None, nodes)
}
