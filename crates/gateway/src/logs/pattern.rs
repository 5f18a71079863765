//! Filter patterns of FilterLogEvents for lines of text.
//!
//! Terms apart by spaces must all be in a line; `"several words"` is one term; `-term` must not be in it; of `?terms`
//! one must be, but they count only where there are no others, as in CloudWatch Logs; `%expression%` is a regular
//! expression. Case matters. CloudWatch Logs compares whole words, this compares any part of the line, which finds more.
//! Patterns for JSON (`{ $.level = … }`) and for columns (`[ip, user, …]`) are not implemented, and say so.

use regex::{Regex, RegexBuilder};

/// Bytes of a pattern. The model's limit.
const PATTERN_BYTES_MAX: usize = 1_024;
/// Bytes of a compiled expression; one that needs more is refused. It is run over every line that is looked at.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// What a line must be like.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    all: Vec<Term>,
    none: Vec<Term>,
    any: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Expression(Regex),
}

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum PatternError {
    #[error("Invalid filter pattern: at most {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "Lambent does not implement filter patterns for JSON ({{ $.… }}) and columns ([…]) yet: use plain terms, such \
         as ERROR, \"two words\", ?ERROR ?WARN or -DEBUG"
    )]
    Structured,
    #[error("Invalid filter pattern: {0} is not closed")]
    Open(char),
    #[error("Invalid filter pattern: a term is empty")]
    Empty,
    #[error("Invalid filter pattern: {0}")]
    Expression(#[from] regex::Error),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let mut rest = text.trim();
        if rest.starts_with(['{', '[']) {
            return Err(PatternError::Structured);
        }
        let mut pattern = Self::default();
        while !rest.is_empty() {
            let (list, after) = match rest.as_bytes()[0] {
                b'?' => (&mut pattern.any, &rest[1..]),
                b'-' => (&mut pattern.none, &rest[1..]),
                _ => (&mut pattern.all, rest),
            };
            let (term, after) = Term::parse(after)?;
            list.push(term);
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    pub(super) fn matches(&self, line: &str) -> bool {
        let only_any = self.all.is_empty() && self.none.is_empty() && !self.any.is_empty();
        let any = !only_any || self.any.iter().any(|term| term.is_in(line));
        any && self.all.iter().all(|term| term.is_in(line)) && !self.none.iter().any(|term| term.is_in(line))
    }
}

impl Term {
    /// Reads one term and gives what follows it.
    fn parse(text: &str) -> Result<(Self, &str), PatternError> {
        if let Some(quoted) = text.strip_prefix('"') {
            let (term, rest) = unquote(quoted)?;
            return non_empty(term).map(|term| (Self::Text(term), rest));
        }
        if let Some(expression) = text.strip_prefix('%') {
            let (expression, rest) = expression.split_once('%').ok_or(PatternError::Open('%'))?;
            let expression = RegexBuilder::new(expression).size_limit(EXPRESSION_BYTES_MAX).build()?;
            return Ok((Self::Expression(expression), rest));
        }
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        non_empty(text[..end].to_owned()).map(|term| (Self::Text(term), &text[end..]))
    }

    fn is_in(&self, line: &str) -> bool {
        match self {
            Self::Text(text) => line.contains(text.as_str()),
            Self::Expression(expression) => expression.is_match(line),
        }
    }
}

/// The text up to the closing quote, without backslashes, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), PatternError> {
    let mut term = String::new();
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => return Ok((term, &text[at + 1..])),
            '\\' if !escaped => escaped = true,
            other => {
                term.push(other);
                escaped = false;
            }
        }
    }
    Err(PatternError::Open('"'))
}

fn non_empty(term: String) -> Result<String, PatternError> {
    if term.is_empty() {
        Err(PatternError::Empty)
    } else {
        Ok(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, line: &str, expected: bool) {
        assert_eq!(
            Pattern::parse(pattern).unwrap().matches(line),
            expected,
            "{pattern} on {line}"
        );
    }

    #[test]
    fn lines_that_a_pattern_takes() {
        check("", "anything", true);
        check("  ", "anything", true);
        check("ERROR", "[ERROR] disk", true);
        check("ERROR", "[error] disk", false);
        check("ERROR disk", "disk ERROR", true);
        check("ERROR disk", "ERROR", false);
        check("\"ERROR disk\"", "ERROR disk", true);
        check("\"ERROR disk\"", "disk ERROR", false);
        check("\"a \\\"b\\\"\"", "a \"b\" c", true);
        check("ERROR -disk", "ERROR net", true);
        check("ERROR -disk", "ERROR disk", false);
        check("-\"on disk\"", "ERROR on net", true);
        check("?ERROR ?WARN", "WARN x", true);
        check("?ERROR ?WARN", "INFO x", false);
        check("?ERROR net", "INFO net", true);
        check("%err(or)?\\s+[0-9]+%", "an error 42", true);
        check("%err(or)?\\s+[0-9]+%", "an error", false);
        check("é", "café", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "{ $.level = \"ERROR\" }",
            "[ip, user]",
            "\"open",
            "%open",
            "?",
            "-",
            "\"\"",
            "%(%",
            &"x".repeat(1_025),
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        // An expression that would grow beyond all bounds when it is compiled.
        assert!(Pattern::parse("%((a{1000}){1000}){1000}%").is_err());
    }
}
