//! The definition of a kind: plain data. [`super::checks`] says which definitions are allowed.

/// The definition of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The kind that is defined.
    pub kind: u32,
    /// Its name: a letter, then letters, digits and underscores.
    pub name: String,
    /// A category by which viewers group kinds; may be empty.
    pub category: String,
    /// What an event of the kind says about the time.
    pub role: Role,
    /// The kind of the other end, of a [`Role::Begin`] or [`Role::End`].
    pub pairs_with: Option<u32>,
    /// The index of the field that tells one series, flow or pair from another.
    pub key_field: Option<usize>,
    /// The index of the field that holds the nanoseconds of a [`Role::Complete`].
    pub duration_field: Option<usize>,
    /// The bytes of the payload that fields with a fixed length lie in.
    pub size: u32,
    /// The fields.
    pub fields: Vec<Field>,
}

/// A field of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name: a letter, then letters, digits and underscores. Unique in its kind, without regard to case.
    pub name: String,
    /// What its bytes mean.
    pub field_type: Type,
    /// The offset of its first byte in the payload.
    pub offset: u32,
    /// The number of its bytes.
    pub length: Length,
    /// The unit of its value; may be empty.
    pub unit: String,
    /// How its value is shown to people.
    pub hint: Hint,
}

/// What an event of a kind says about the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Role {
    /// Something happened at the event's time.
    #[default]
    Instant = 0,
    /// A span begins. Its end is an event of the kind `pairs_with`, of the same thread.
    Begin = 1,
    /// A span ends.
    End = 2,
    /// A whole span. It ends at the event's time, and has lasted for the nanoseconds in `duration_field`.
    Complete = 3,
    /// The fields with numbers are measured values.
    Counter = 4,
    /// A step of something that moves between threads.
    Flow = 5,
    /// A message.
    Log = 6,
}

/// What the bytes of a field mean. Numbers are little-endian and need not be aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// An integer.
    Integer(Integer),
    /// A float of 4 bytes.
    F32,
    /// A float of 8 bytes.
    F64,
    /// A byte; 0 is false, all else is true.
    Bool,
    /// An address, 8 bytes.
    Address,
    /// A text in UTF-8. It ends before its first NUL, or with the field.
    String,
    /// Bytes.
    Bytes,
    /// An integer whose values have names.
    Enum {
        /// How the value is stored.
        integer: Integer,
        /// The values that have names.
        values: Vec<EnumValue>,
    },
}

/// How an integer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// Unsigned, 1 byte.
    U8,
    /// Unsigned, 2 bytes.
    U16,
    /// Unsigned, 4 bytes.
    U32,
    /// Unsigned, 8 bytes.
    U64,
    /// Signed, 1 byte.
    I8,
    /// Signed, 2 bytes.
    I16,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 8 bytes.
    I64,
}

/// A value of an enum and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumValue {
    /// The value. It fits the enum's integer.
    pub value: i128,
    /// Its name.
    pub name: String,
}

/// The number of bytes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many, in every payload.
    Fixed(u32),
    /// All that follow the field's offset. Only the last field, a string or bytes.
    Rest,
}

/// How a value is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Hint {
    /// As its type is usually shown.
    #[default]
    None = 0,
    /// A number in hexadecimal.
    Hexadecimal = 1,
    /// A number of bytes, with the unit that fits its size.
    Bytes = 2,
    /// A number of nanoseconds, with the unit that fits its size.
    Nanoseconds = 3,
}

impl Definition {
    /// A kind of which nothing but the name is known: an instant without fields.
    pub fn new(kind: u32, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            category: String::new(),
            role: Role::Instant,
            pairs_with: None,
            key_field: None,
            duration_field: None,
            size: 0,
            fields: Vec::new(),
        }
    }

    /// The index of the field with a name, without regard to case.
    pub fn field_named(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Sets `size` to the end of the last field that has a fixed length, or to where the rest begins.
    pub fn fit(&mut self) {
        let end = |field: &Field| field.end().unwrap_or(field.offset.into());
        let end = self.fields.iter().map(end).max().unwrap_or(0);
        self.size = u32::try_from(end).unwrap_or(u32::MAX);
    }
}

impl Field {
    /// A field of a type that has a size of its own. Strings and bytes get the rest of the payload.
    pub fn new(name: &str, field_type: Type, offset: u32) -> Self {
        let length = field_type.size().map_or(Length::Rest, Length::Fixed);
        Self { name: name.to_owned(), field_type, offset, length, unit: String::new(), hint: Hint::None }
    }

    /// The offset behind its last byte, if it has a fixed length.
    pub fn end(&self) -> Option<u64> {
        match self.length {
            Length::Fixed(bytes) => Some(u64::from(self.offset) + u64::from(bytes)),
            Length::Rest => None,
        }
    }
}

impl Type {
    /// The bytes of a value, if they are the same for all values.
    pub fn size(&self) -> Option<u32> {
        match self {
            Self::Integer(integer) | Self::Enum { integer, .. } => Some(integer.size()),
            Self::F32 => Some(4),
            Self::Bool => Some(1),
            Self::F64 | Self::Address => Some(8),
            Self::String | Self::Bytes => None,
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Integer(integer) => integer.name(),
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Address => "address",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Enum { .. } => "enum",
        }
    }

    /// Whether its values are numbers that can be added up.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::F32 | Self::F64)
    }
}

impl Integer {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::U8, Self::U16, Self::U32, Self::U64, Self::I8, Self::I16, Self::I32, Self::I64];

    /// The bytes of a value.
    pub fn size(self) -> u32 {
        1 << (self as u32 % 4)
    }

    /// Whether there are values below 0.
    pub fn signed(self) -> bool {
        self as u32 >= Self::I8 as u32
    }

    /// The least and the greatest value.
    pub fn range(self) -> (i128, i128) {
        let bits = 8 * self.size();
        if self.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"][self as usize]
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Instant, Self::Begin, Self::End, Self::Complete, Self::Counter, Self::Flow, Self::Log];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        ["instant", "begin", "end", "complete", "counter", "flow", "log"][self as usize]
    }
}

impl Hint {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Hexadecimal, Self::Bytes, Self::Nanoseconds];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        ["none", "hexadecimal", "bytes", "nanoseconds"][self as usize]
    }
}
