//! The values of a column in a row group.

use parquet::data_type::ByteArray;

/// Values of a type of Parquet.
pub enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bool(Vec<bool>),
    /// The bytes of all values, and where each of them ends.
    Bytes(Vec<u8>, Vec<usize>),
}

/// A column. Its values are those that are there; the levels say how much of the way to the value is. A column of every event has one for each row, a column of
/// a kind's field one for each row of that kind: a journal may have very many fields, and an event has those of one kind.
pub struct Column {
    pub values: Values,
    /// Empty where every row has a value.
    pub levels: Vec<i16>,
    /// The level of a value that is there; 0: every row has one.
    pub present: i16,
}

impl Column {
    /// An empty column.
    pub fn new(values: Values, present: i16) -> Self {
        Self { values, levels: Vec::new(), present }
    }

    /// Removes the values, and keeps the memory.
    pub fn clear(&mut self) {
        self.levels.clear();
        match &mut self.values {
            Values::Int32(values) => values.clear(),
            Values::Int64(values) => values.clear(),
            Values::Float(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::Bool(values) => values.clear(),
            Values::Bytes(bytes, ends) => {
                bytes.clear();
                ends.clear();
            }
        }
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        let values = match &self.values {
            Values::Int32(values) => values.len() * 4,
            Values::Int64(values) => values.len() * 8,
            Values::Float(values) => values.len() * 4,
            Values::Double(values) => values.len() * 8,
            Values::Bool(values) => values.len(),
            // Each becomes a `ByteArray` when it is written.
            Values::Bytes(bytes, ends) => bytes.len() + ends.len() * (8 + size_of::<ByteArray>()),
        };
        values + self.levels.len() * 2
    }

    /// Adds a value that is there, of an integer of any size.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        match &mut self.values {
            Values::Int64(values) => values.push(number),
            Values::Int32(values) => values.push(number as i32),
            _ => {}
        }
        self.level(self.present);
    }

    /// Adds bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Values::Bytes(all, ends) = &mut self.values {
            all.extend_from_slice(bytes);
            ends.push(all.len());
        }
        self.level(self.present);
    }

    /// Adds a text. Texts of Parquet are UTF-8, whatever was captured: what is none becomes U+FFFD.
    pub fn text(&mut self, bytes: &[u8]) {
        if std::str::from_utf8(bytes).is_ok() {
            return self.bytes(bytes);
        }
        if let Values::Bytes(all, ends) = &mut self.values {
            for chunk in bytes.utf8_chunks() {
                all.extend_from_slice(chunk.valid().as_bytes());
                if !chunk.invalid().is_empty() {
                    all.extend_from_slice("\u{FFFD}".as_bytes());
                }
            }
            ends.push(all.len());
        }
        self.level(self.present);
    }

    /// Adds a float.
    pub fn float(&mut self, number: f64) {
        match &mut self.values {
            Values::Double(values) => values.push(number),
            Values::Float(values) => values.push(number as f32),
            _ => {}
        }
        self.level(self.present);
    }

    /// Adds a bool.
    pub fn bool(&mut self, value: bool) {
        if let Values::Bool(values) = &mut self.values {
            values.push(value);
        }
        self.level(self.present);
    }

    /// Adds a row's level; the value that belongs to it is added by itself.
    #[inline]
    pub fn level(&mut self, level: i16) {
        if self.present > 0 {
            self.levels.push(level);
        }
    }
}
