//! Typed kinds: what the payload of a kind consists of.
//!
//! A [`Definition`] names a kind and the fields of its payload. It changes nothing in how events are captured or stored. It travels beside them, as
//! a fact in its wire form ([`Definition::to_bytes`]), so that whoever has the events can read their fields.
//!
//! ```
//! use capture_pipeline::kinds::{Definition, Field, Integer, Type};
//!
//! let mut allocation = Definition::new(7, "allocation");
//! allocation.fields = vec![
//!     Field::new("size", Type::Integer(Integer::U64), 0),
//!     Field::new("site", Type::Address, 8),
//! ];
//! allocation.size = 16;
//! allocation.check()?;
//!
//! let payload = [100u64.to_le_bytes(), 0xABC0u64.to_le_bytes()].concat();
//! let shown: Vec<String> = allocation.fields.iter().map(|field| field.show(&payload).to_string()).collect();
//! assert_eq!(shown, ["100", "0xabc0"]);
//! # Ok::<(), capture_pipeline::kinds::Invalid>(())
//! ```

mod checks;
mod definition;
mod list;
mod show;
mod value;
mod wire;

pub use checks::{Invalid, shown_kind};
pub use definition::{Definition, EnumValue, Field, Hint, Integer, Length, Role, Type};
pub use list::{Definitions, MAX_DEFINITIONS};
pub use show::{Shown, ShownField};
pub use value::Value;

/// The largest number of fields of a kind.
pub const MAX_FIELDS: usize = 64;
/// The largest number of bytes in the name of a kind, a field or a value, and in a category.
pub const MAX_NAME: usize = 63;
/// The largest number of bytes in a unit.
pub const MAX_UNIT: usize = 31;
/// The largest number of bytes in the wire form of a definition.
pub const MAX_BYTES: usize = 16_384;
/// The largest number of values of an enum: more do not fit, even if their names have a single byte.
pub const MAX_VALUES: usize = MAX_BYTES / 10;
