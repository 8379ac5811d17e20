//! The labels of pipelines: escaped, and different for each pipeline of a text.

use super::Source;
use crate::platform::memory;
use crate::status::Result;

/// The labels of all pipelines, from the opening brace on: `{pipeline="NAME",storage="NAME"`. What follows are more labels, or the closing brace.
pub struct Labels {
    text: Vec<u8>,
    /// Where the labels of each pipeline end.
    ends: Vec<usize>,
}

/// The most bytes that a number adds to a name: `#` and its digits.
const NUMBER: usize = 21;
const FIXED: usize = br#"{pipeline="",storage=""#.len() + 1;

impl Labels {
    /// An error: there is no memory.
    ///
    /// Two series with equal labels make a text that Prometheus refuses as a whole, so pipelines of one name are told apart: the one with the lowest id
    /// keeps the name, and the others are called `NAME#ID`. A name that ends like that itself gets its id as well. So a label that ends in `#` and digits
    /// always ends in the id of its pipeline, and no two are equal.
    pub fn of(sources: &[Source<'_>]) -> Result<Self> {
        let numbered = numbered(sources)?;
        let most = |s: &Source<'_>| FIXED + NUMBER + 2 * (s.name.len() + s.storage.len());
        let most: usize = sources.iter().map(most).sum();
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        text.try_reserve_exact(most).map_err(|_| memory::refused(most))?;
        ends.try_reserve_exact(sources.len()).map_err(|_| memory::refused(8 * sources.len()))?;
        for (source, numbered) in sources.iter().zip(numbered) {
            text.extend_from_slice(b"{pipeline=\"");
            escape(source.name, &mut text);
            if numbered {
                text.push(b'#');
                let mut digits = [0; NUMBER];
                let mut out = super::Out::to(&mut digits);
                out.count(source.id);
                let length = out.length();
                text.extend_from_slice(&digits[..length]);
            }
            text.extend_from_slice(b"\",storage=\"");
            escape(source.storage, &mut text);
            text.push(b'"');
            ends.push(text.len());
        }
        Ok(Self { text, ends })
    }

    /// Those of one pipeline.
    #[inline]
    pub fn of_pipeline(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[from..self.ends[index]]
    }
}

/// Which of the pipelines get their id into the label.
fn numbered(sources: &[Source<'_>]) -> Result<Vec<bool>> {
    let (mut order, mut numbered) = (Vec::new(), Vec::new());
    order.try_reserve_exact(sources.len()).map_err(|_| memory::refused(8 * sources.len()))?;
    numbered.try_reserve_exact(sources.len()).map_err(|_| memory::refused(sources.len()))?;
    order.extend(0..sources.len());
    numbered.extend(sources.iter().map(|source| ends_in_a_number(source.name)));
    order.sort_unstable_by_key(|&n| (sources[n].name, sources[n].id));
    for pair in order.windows(2) {
        if let [before, n] = *pair
            && sources[before].name == sources[n].name
        {
            numbered[n] = true;
        }
    }
    Ok(numbered)
}

fn ends_in_a_number(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, digits)| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Both formats know the same three escapes in the value of a label.
fn escape(value: &str, text: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b'\\' => text.extend_from_slice(br"\\"),
            b'"' => text.extend_from_slice(br#"\""#),
            b'\n' => text.extend_from_slice(br"\n"),
            byte => text.push(byte),
        }
    }
}
