//! Cuts a formula's text into tokens.

use ecow::EcoString;
use rust_decimal::Decimal;

use super::ast::Operator;
use super::{FormulaError, FormulaErrorKind, Span};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A number's digits.
    Number(Decimal),
    /// A quoted text, without its quotes and escapes.
    Text(EcoString),
    /// What stands between braces.
    Attribute(EcoString),
    /// The name of a function, a variable, or an attribute without braces; as it was written.
    Name(EcoString),
    /// `!`
    Not,
    /// An operator.
    Operator(Operator),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
}

/// The tokens of `text`, each with its place; at most `length_max` bytes of it.
pub fn tokens(text: &str, length_max: usize) -> Result<Vec<(Token, Span)>, FormulaError> {
    if text.len() > length_max {
        let message = format!("the formula has {} bytes; {length_max} are the most", text.len());
        return Err(FormulaError::new(FormulaErrorKind::TooLarge, Span { start: length_max, end: text.len() }, message));
    }
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let start = at;
        at += c.len_utf8();
        let next = text[at..].chars().next();
        let token = match c {
            _ if c.is_whitespace() => continue,
            '/' if next == Some('/') => {
                at = text[at..].find('\n').map_or(text.len(), |length| at + length);
                continue;
            }
            '/' if next == Some('*') => {
                let length = text[at + 1..].find("*/").ok_or_else(|| syntax(start, text.len(), "this comment is not closed"))?;
                at += 1 + length + 2;
                continue;
            }
            '&' | '|' if next == Some(c) => {
                at += 1;
                Token::Operator(if c == '&' { Operator::And } else { Operator::Or })
            }
            '|' => return Err(syntax(start, at, "`|` stands alone; `||` is the operator")),
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '+' => Token::Operator(Operator::Add),
            '-' => Token::Operator(Operator::Subtract),
            '*' if next == Some('*') => return Err(syntax(start, at + 1, "`**` is no operator; `^` is that of powers")),
            '*' => Token::Operator(Operator::Multiply),
            '/' => Token::Operator(Operator::Divide),
            '%' => Token::Operator(Operator::Modulo),
            '^' => Token::Operator(Operator::Power),
            '&' => Token::Operator(Operator::Join),
            '=' if matches!(next, Some('<' | '>')) => {
                let (written, meant) = if next == Some('<') { ("=<", "<=") } else { ("=>", ">=") };
                return Err(syntax(start, at + 1, format!("`{written}` is no operator; `{meant}` is")));
            }
            '=' => {
                at += usize::from(next == Some('='));
                Token::Operator(Operator::Equal)
            }
            '!' if next != Some('=') => Token::Not,
            '<' | '>' | '!' => {
                let two = next.filter(|n| matches!((c, n), ('<' | '>' | '!', '=') | ('<', '>')));
                at += two.map_or(0, char::len_utf8);
                Token::Operator(match (c, two) {
                    ('<', None) => Operator::Less,
                    ('<', Some('=')) => Operator::LessEqual,
                    ('>', None) => Operator::Greater,
                    ('>', _) => Operator::GreaterEqual,
                    _ => Operator::NotEqual,
                })
            }
            '"' | '\'' => {
                let (content, end) = quoted(text, at, c).ok_or_else(|| syntax(start, text.len(), "this text is not closed"))?;
                at = end;
                Token::Text(content)
            }
            '{' => {
                let (content, end) = braced(text, at).ok_or_else(|| syntax(start, text.len(), "this `{` is not closed"))?;
                let name = content.trim();
                at = end;
                if name.is_empty() {
                    return Err(syntax(start, at, "an attribute's key or name stands between braces"));
                }
                Token::Attribute(name.into())
            }
            '0'..='9' | '.' if c != '.' || next.is_some_and(|next| next.is_ascii_digit()) => {
                at = start + number_length(&text[start..]);
                let digits = &text[start..at];
                let number = digits.parse::<Decimal>().or_else(|_| Decimal::from_scientific(digits));
                Token::Number(
                    number.map_err(|_| syntax(start, at.max(start + 1), format!("`{digits}` is not a number of up to 28 digits")))?,
                )
            }
            _ if c.is_alphabetic() || c == '_' => {
                at = text[start..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(text.len(), |length| start + length);
                Token::Name(text[start..at].into())
            }
            _ => return Err(syntax(start, at, meaningless(c))),
        };
        out.push((token, Span { start, end: at }));
    }
    Ok(out)
}

/// What is said of a character that means nothing in a formula: what it may have been meant for.
fn meaningless(c: char) -> String {
    let advice = match c {
        ';' => "; arguments are separated by `,`",
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201c}' | '\u{201d}' | '\u{201e}' => "; quotes are `\"` and `'`",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "; `-` is the operator",
        '\u{d7}' => "; `*` is the operator",
        '\u{f7}' => "; `/` is the operator",
        '\u{2260}' => "; `!=` is the operator",
        '\u{2264}' => "; `<=` is the operator",
        '\u{2265}' => "; `>=` is the operator",
        // Nobody would see it.
        _ if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}') => {
            return format!("the character U+{:04X} has no meaning here", u32::from(c));
        }
        _ => "",
    };
    format!("`{c}` has no meaning here{advice}")
}

fn syntax(start: usize, end: usize, message: impl std::fmt::Display) -> FormulaError {
    FormulaError::new(FormulaErrorKind::Syntax, Span { start, end }, message)
}

/// The content of a text that began before `at`, and the place after its closing quote. A backslash or the same quote
/// before a quote makes it part of the text.
fn quoted(text: &str, at: usize, quote: char) -> Option<(EcoString, usize)> {
    let mut content = EcoString::new();
    let mut chars = text[at..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            _ if c == quote && text[at + i + 1..].starts_with(quote) => {
                chars.next();
                content.push(quote);
            }
            _ if c == quote => return Some((content, at + i + 1)),
            '\\' => match chars.next()?.1 {
                'n' => content.push('\n'),
                't' => content.push('\t'),
                'r' => content.push('\r'),
                other @ ('\\' | '"' | '\'') => content.push(other),
                // Part of a regular expression, most likely.
                other => content.extend(['\\', other]),
            },
            _ => content.push(c),
        }
    }
    None
}

/// The name between braces that began before `at`, and the place after the closing brace. A backslash before a brace or a
/// backslash makes it part of the name.
fn braced(text: &str, at: usize) -> Option<(EcoString, usize)> {
    let mut name = EcoString::new();
    let mut chars = text[at..].char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match c {
            '}' => return Some((name, at + i + 1)),
            '\\' => name.push(chars.next_if(|(_, next)| matches!(next, '{' | '}' | '\\')).map_or(c, |(_, next)| next)),
            _ => name.push(c),
        }
    }
    None
}

/// A name as it stands between braces.
pub(super) fn in_braces(name: &str) -> String {
    format!("{{{}}}", name.replace('\\', "\\\\").replace('}', "\\}"))
}

/// How many bytes at the start of `text` belong to one number: digits, one point, an exponent.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if text[length..].starts_with('.') {
        length += 1 + digits(length + 1);
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}
