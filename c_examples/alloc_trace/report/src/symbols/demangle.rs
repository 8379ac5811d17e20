//! Names of C++ and Rust.

use crate::ledger::clean;

/// A name as its language writes it. What a file has in its symbol table may be any text.
pub fn demangle(name: &str) -> String {
    clean(&readable(name))
}

fn readable(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name)
        && let Ok(text) = symbol.demangle()
    {
        return text;
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn names_are_as_their_language_writes_them() {
        assert_eq!(demangle("malloc"), "malloc");
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(demangle("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(demangle("_Zgarbage"), "_Zgarbage");
    }

    #[test]
    fn names_have_no_characters_that_harm_a_terminal_or_a_picture() {
        assert_eq!(demangle("\u{1b}[31mred\n\u{202e}<&>\u{ffff}\u{200b}\u{9b}é漢"), "?[31mred??<&>???é漢");
    }
}
