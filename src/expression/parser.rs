//! From words to the tree of an expression.

use super::lexer::{Lexer, Problem, Word};
use super::own::Own;
use super::tree::{MAX_LEN, Operator, Term, Tree};
use crate::wall_time;

/// Words that are no names.
const RESERVED: [&str; 7] = ["and", "or", "not", "in", "contains", "true", "false"];

struct Parser<'a> {
    lexer: Lexer<'a>,
    word: Word,
    /// The byte that the word begins at.
    at: usize,
    depth: usize,
    max_depth: usize,
}

pub(super) fn parse(text: &str, max_depth: usize) -> Result<Tree, Problem> {
    let mut lexer = Lexer::new(text);
    if text.len() > MAX_LEN {
        let reason = format!("at most {MAX_LEN} bytes are allowed, {} are given", text.len());
        return Err(Problem { at: 0, reason });
    }
    let (word, at) = lexer.next()?;
    let mut parser = Parser { lexer, word, at, depth: 0, max_depth };
    let tree = parser.or()?;
    if parser.word == Word::End { Ok(tree) } else { Err(parser.expected("'and', 'or' or the end")) }
}

impl Parser<'_> {
    fn expected(&self, what: &str) -> Problem {
        self.lexer.problem(self.at, format!("{what} expected, {} found", self.word))
    }

    fn advance(&mut self) -> Result<Word, Problem> {
        let (word, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.word, word))
    }

    /// Whether the word is this sign or word of the language.
    fn is(&self, what: &str) -> bool {
        match &self.word {
            Word::Sign(sign) => *sign == what,
            Word::Name(name) => RESERVED.contains(&what) && name.eq_ignore_ascii_case(what),
            _ => false,
        }
    }

    fn skip(&mut self, what: &str) -> Result<bool, Problem> {
        let is = self.is(what);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn or(&mut self) -> Result<Tree, Problem> {
        let mut parts = vec![self.and()?];
        while self.skip("or")? {
            parts.push(self.and()?);
        }
        Ok(if parts.len() > 1 { Tree::Or(parts) } else { parts.remove(0) })
    }

    fn and(&mut self) -> Result<Tree, Problem> {
        let mut parts = vec![self.not()?];
        while self.skip("and")? {
            parts.push(self.not()?);
        }
        Ok(if parts.len() > 1 { Tree::And(parts) } else { parts.remove(0) })
    }

    fn not(&mut self) -> Result<Tree, Problem> {
        self.depth += 1;
        if self.depth > self.max_depth {
            let reason = format!("parentheses and 'not' may be nested {} deep", self.max_depth);
            return Err(self.lexer.problem(self.at, reason));
        }
        let tree = if self.skip("not")? {
            Tree::Not(Box::new(self.not()?))
        } else if self.skip("(")? {
            let inner = self.or()?;
            if !self.skip(")")? {
                return Err(self.expected("')'"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(tree)
    }

    fn comparison(&mut self) -> Result<Tree, Problem> {
        let at = self.at;
        let left = self.term()?;
        let operator = match &self.word {
            Word::Sign("=") => Operator::Equal,
            Word::Sign("!=") => Operator::Unequal,
            Word::Sign("<") => Operator::Less,
            Word::Sign("<=") => Operator::LessOrEqual,
            Word::Sign(">") => Operator::Greater,
            Word::Sign(">=") => Operator::GreaterOrEqual,
            _ if self.is("contains") => Operator::Contains,
            _ if self.is("in") => return self.list(left),
            _ if matches!(left, Term::Field { .. } | Term::Own(_) | Term::Bool(_)) => {
                return Ok(Tree::Truth(left));
            }
            _ => return Err(self.expected("a comparison")),
        };
        self.advance()?;
        let right_at = self.at;
        let right = self.term()?;
        let (as_left, as_right) = (self.as_time(&left, &right, at)?, self.as_time(&right, &left, right_at)?);
        Ok(Tree::Compare(as_left.unwrap_or(left), operator, as_right.unwrap_or(right)))
    }

    fn list(&mut self, term: Term) -> Result<Tree, Problem> {
        self.advance()?;
        if !self.skip("(")? {
            return Err(self.expected("'('"));
        }
        let mut list = Vec::new();
        loop {
            let at = self.at;
            let entry = self.term()?;
            list.push(self.as_time(&entry, &term, at)?.unwrap_or(entry));
            if self.skip(")")? {
                return Ok(Tree::In(term, list));
            }
            if !self.skip(",")? {
                return Err(self.expected("',' or ')'"));
            }
        }
    }

    fn term(&mut self) -> Result<Term, Problem> {
        let term = match &self.word {
            Word::Integer(number) => Term::Integer(*number),
            Word::Float(number) => Term::Float(*number),
            Word::Text(text) => Term::Text(text.clone()),
            Word::Bytes(bytes) => Term::Bytes(bytes.clone()),
            Word::Sign("-") => {
                self.advance()?;
                match self.word {
                    Word::Integer(number) => Term::Integer(-number),
                    Word::Float(number) => Term::Float(-number),
                    _ => return Err(self.expected("a number")),
                }
            }
            Word::Name(_) if self.is("true") || self.is("false") => Term::Bool(self.is("true")),
            Word::Name(name) if !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name)) => {
                self.name(name)?
            }
            _ => return Err(self.expected("a name, a number or a text")),
        };
        self.advance()?;
        Ok(term)
    }

    fn name(&self, name: &str) -> Result<Term, Problem> {
        let (kind, field) = match name.split_once('.') {
            Some((kind, field)) => (Some(kind), field),
            None => (None, name),
        };
        if kind == Some("") || field.is_empty() || field.contains('.') {
            return Err(self
                .lexer
                .problem(self.at, format!("'{name}' is no name; FIELD and KIND.FIELD are")));
        }
        if field.starts_with('_') {
            let own = Own::named(field).filter(|_| kind.is_none());
            return own.map(Term::Own).ok_or_else(|| {
                let known: Vec<String> = Own::ALL.iter().map(|own| format!("_{}", own.name())).collect();
                let reason =
                    format!("unknown name '{name}'; those that begin with _ are {}", known.join(" "));
                self.lexer.problem(self.at, reason)
            });
        }
        Ok(Term::Field { kind: kind.map(str::to_owned), field: field.to_owned() })
    }

    /// The time of a text that is compared with the wall time. `None`: it is no text, or is compared with something else.
    fn as_time(&self, term: &Term, other: &Term, at: usize) -> Result<Option<Term>, Problem> {
        let with_time = match other {
            Term::Own(own) => *own == Own::WallTime,
            // (A field of a kind may have this name too. It is then compared with a number.)
            Term::Field { kind: None, field } => Own::named(field) == Some(Own::WallTime),
            _ => false,
        };
        let (Term::Text(text), true) = (term, with_time) else { return Ok(None) };
        match std::str::from_utf8(text).ok().and_then(wall_time::parse) {
            Some(ns) => Ok(Some(Term::Integer(ns))),
            None => Err(self.lexer.problem(at, "a time expected, as in \"2024-05-01T10:00:00Z\"")),
        }
    }
}
