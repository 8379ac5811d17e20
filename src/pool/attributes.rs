//! The attributes of a pipeline: what is the same for all of its events, such as the host, the service and the version.

use super::Pool;
use crate::facts::Fact;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, Result};

/// The most attributes of a pipeline.
pub const MOST_ATTRIBUTES: usize = 64;
/// The most bytes of a name.
pub const MOST_NAME: usize = 63;
/// The most bytes of a value.
pub const MOST_VALUE: usize = 1024;

/// What is wrong with a name.
fn no_name(name: &str) -> Option<String> {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() > MOST_NAME {
        return Some(format!("name: 1 to {MOST_NAME} bytes allowed, {} given", name.len()));
    }
    (!first || !name.chars().all(fits))
        .then(|| format!("name: a letter, then letters, digits, '_', '.' and '-' allowed, {name:?} given"))
}

impl Pool {
    /// Sets an attribute. When this returns, it is in the list of facts. An attribute that could not be added is not kept, so that the
    /// call can be made again.
    pub fn set_attribute(&self, name: &str, value: &str) -> Result<()> {
        if let Some(why) = no_name(name) {
            return Err(Error::new(PIPELINE_ERR_INVALID, why));
        }
        if value.len() > MOST_VALUE {
            let text = format!("value of {name}: {MOST_VALUE} bytes allowed, {} given", value.len());
            return Err(Error::new(PIPELINE_ERR_INVALID, text));
        }
        let mut names = self.attributes.lock();
        let known = names.iter().position(|known| **known == *name);
        if known.is_none() && names.len() == MOST_ATTRIBUTES {
            let text = format!("attribute {name}: {MOST_ATTRIBUTES} attributes allowed, all of them are set");
            return Err(Error::new(PIPELINE_ERR_LIMIT, text));
        }
        let number = known.unwrap_or(names.len()) as u64;
        self.add_fact(Fact::attribute(number, name.as_bytes(), value.as_bytes())?)?;
        if known.is_none() {
            // (A small block: the reserve of memory has one.)
            names.push(name.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_letter_and_what_may_follow_it() {
        for name in ["a", "Z9", "service.name", "a-b_c", &"n".repeat(MOST_NAME)] {
            assert_eq!(no_name(name), None, "{name}");
        }
        for name in ["", "9", ".a", "a b", "a=b", "\u{e9}", "a\n", &"n".repeat(MOST_NAME + 1)] {
            assert!(no_name(name).is_some(), "{name}");
        }
    }
}
