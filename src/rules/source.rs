//! The text of one rule, and where it comes from.

/// The text of a rule, without its comments, and where its parts come from.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub text: String,
    /// The index of the rule.
    pub index: usize,
    /// Where the text of each line begins: the character in `text`, the line from 1, the column from 0.
    lines: Vec<(usize, u32, usize)>,
    characters: usize,
}

impl Source {
    /// A text by itself.
    pub fn of(text: &str) -> Self {
        let mut source = Self::default();
        source.push(1, 0, text);
        source
    }

    /// That of the rule with this index. It has no line yet.
    pub fn of_rule(index: usize) -> Self {
        Self { index, ..Self::default() }
    }

    /// Adds a line, or what is left of it from a column on.
    pub fn push(&mut self, line: u32, column: usize, content: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
            self.characters += 1;
        }
        self.lines.push((self.characters, line, column));
        self.text.push_str(content);
        self.characters += content.chars().count();
    }

    /// The line that it begins in.
    pub fn line(&self) -> u32 {
        self.lines.first().map_or(0, |(_, line, _)| *line)
    }

    /// The line and the column, each from 1, of a character of the text.
    pub fn place(&self, character: usize) -> (u32, usize) {
        let behind = self.lines.partition_point(|(first, ..)| *first <= character);
        let (first, line, column) = self.lines.get(behind.saturating_sub(1)).copied().unwrap_or_default();
        (line, column + character - first + 1)
    }
}
