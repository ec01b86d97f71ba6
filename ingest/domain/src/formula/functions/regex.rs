//! Regular expressions: those of RE2, where a search takes time in proportion to the text and to the expression.

use std::cell::RefCell;
use std::rc::Rc;

use ecow::EcoString;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use rustc_hash::FxHashMap;

use super::{Call, Function, Kind, Parameters};
use crate::formula::coerce::{bounded, list, text};
use crate::formula::eval::{Evaluation, Expr};
use crate::formula::outcome::{Outcome, error, excerpt};
use crate::formula::types::Type;
use crate::value::{ErrorKind, Value};

/// How large the compiled form of an expression may become, in bytes.
const COMPILED_MAX: usize = 256 * 1024;

/// How many compiled expressions a thread keeps.
const KEPT_MAX: usize = 128;

const MATCHING: Parameters = Parameters::exactly(&[Kind::Text, Kind::Pattern]);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "REGEX_MATCH",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::Bool,
        call: Call::Lazy(|evaluation, arguments| {
            let search = Search::new(evaluation, arguments)?;
            search.pays(evaluation, 0)?;
            Ok(Value::Bool(search.pattern.regex.is_match(&search.text)))
        }),
        doc: "Whether the expression matches anywhere in the text.",
        examples: &[("REGEX_MATCH(\"Hello World\", \"Hello.World\")", "true"), ("REGEX_MATCH(\"a\", \"(\")", "refused")],
    },
    Function {
        name: "REGEX_EXTRACT",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::Text,
        call: Call::Lazy(|evaluation, arguments| {
            let search = Search::new(evaluation, arguments)?;
            search.pays(evaluation, 0)?;
            let group = usize::from(search.pattern.regex.captures_len() > 1);
            let found = search.pattern.regex.captures(&search.text).and_then(|found| found.get(group));
            Ok(found.map_or(Value::Blank, |found| Value::text(found.as_str())))
        }),
        doc: "The first match, or what its first group matched if the expression has one; blank if nothing matches.",
        examples: &[
            ("REGEX_EXTRACT(\"Order 66 of 99\", \"[0-9]+\")", "\"66\""),
            ("REGEX_EXTRACT(\"Zoë Müller\", \"\\\\p{L}+\")", "\"Zoë\""),
            ("REGEX_EXTRACT(\"a@b\", \"(.+)@\")", "\"a\""),
            ("REGEX_EXTRACT(\"a\", \"b\")", "blank"),
            ("REGEX_EXTRACT(\"b\", \"(a)?b\")", "blank"),
        ],
    },
    Function {
        name: "REGEX_EXTRACTALL",
        arguments: "text, expression",
        parameters: MATCHING,
        returns: |_| Type::List(Box::new(Type::Text)),
        call: Call::Lazy(|evaluation, arguments| {
            let search = Search::new(evaluation, arguments)?;
            search.pays(evaluation, 0)?;
            let mut out = Vec::new();
            for found in search.pattern.regex.find_iter(&search.text) {
                out.push(Value::text(found.as_str()));
                search.pays(evaluation, found.end())?;
            }
            list(out)
        }),
        doc: "All matches, as a list; each whole, whatever groups the expression has.",
        examples: &[("REGEX_EXTRACTALL(\"a1b22\", \"[0-9]+\")", "[\"1\", \"22\"]")],
    },
    Function {
        name: "REGEX_REPLACE",
        arguments: "text, expression, replacement",
        parameters: Parameters::exactly(&[Kind::Text, Kind::Pattern, Kind::Text]),
        returns: |_| Type::Text,
        call: Call::Lazy(|evaluation, arguments| {
            let search = Search::new(evaluation, arguments)?;
            let replacement = text(&evaluation.expr(&arguments[2])?);
            search.pays(evaluation, 0)?;
            let (old, mut out, mut copied) = (&search.text, String::new(), 0);
            for found in search.pattern.regex.captures_iter(old) {
                let Some(whole) = found.get(0) else { continue };
                out.push_str(&old[copied..whole.start()]);
                expand(&found, &replacement, &mut out)?;
                copied = whole.end();
                search.pays(evaluation, copied)?;
            }
            out.push_str(&old[copied..]);
            bounded(out.len())?;
            Ok(Value::text(out))
        }),
        doc: "The text with every match replaced. In the replacement `$1` is the first group, `$&` the whole match, `$<name>` a group with a name, and `$$` a dollar sign.",
        examples: &[
            ("REGEX_REPLACE(\"5kg\", \"(\\\\d+)kg\", \"$1lb\")", "\"5lb\""),
            ("REGEX_REPLACE(\"a-b-c\", \"-\", \"+\")", "\"a+b+c\""),
            ("REGEX_REPLACE(\"Ada Lovelace\", \"(\\\\w+) (\\\\w+)\", \"$2, $1\")", "\"Lovelace, Ada\""),
        ],
    },
];

/// A text and the expression that is looked for in it.
struct Search {
    text: EcoString,
    pattern: Rc<Pattern>,
}

impl Search {
    /// The first two arguments of a function.
    fn new(evaluation: &mut Evaluation<'_>, arguments: &[Expr]) -> Outcome<Self> {
        let (text, expression) = (text(&evaluation.expr(&arguments[0])?), text(&evaluation.expr(&arguments[1])?));
        Ok(Self { text, pattern: compiled(&expression)? })
    }

    /// Takes the steps of a search from a place on, which at worst looks at all that is left once for each state: that a
    /// search takes time in proportion to the text says nothing of a thousand searches in it.
    fn pays(&self, evaluation: &mut Evaluation<'_>, from: usize) -> Outcome<()> {
        /// How many states are tried on a byte in the time of a step.
        const TRIED_PER_STEP: usize = 128;
        evaluation.step((self.text.len() - from).saturating_mul(self.pattern.states) / TRIED_PER_STEP)
    }
}

/// Appends a replacement with what it refers to.
fn expand(found: &regex::Captures<'_>, replacement: &str, out: &mut String) -> Outcome<()> {
    let group = |i: usize| found.get(i).map_or("", |group| group.as_str());
    let mut rest = replacement;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let digits = behind.bytes().take(2).take_while(u8::is_ascii_digit).count();
        // Two digits if there is such a group, else one.
        let number = (1..=digits).rev().map(|length| (behind[..length].parse::<usize>(), length));
        let number =
            number.filter_map(|(number, length)| Some((number.ok()?, length))).find(|(number, _)| (1..found.len()).contains(number));
        let name = behind.strip_prefix('<').and_then(|name| name.split_once('>')).and_then(|(name, left)| Some((found.name(name)?, left)));
        rest = match (number, name) {
            (Some((number, length)), _) => {
                out.push_str(group(number));
                &behind[length..]
            }
            (None, Some((named, left))) => {
                out.push_str(named.as_str());
                left
            }
            (None, None) if behind.starts_with('$') => {
                out.push('$');
                &behind[1..]
            }
            (None, None) if behind.starts_with('&') => {
                out.push_str(group(0));
                &behind[1..]
            }
            (None, None) => {
                out.push('$');
                behind
            }
        };
        bounded(out.len())?;
    }
    out.push_str(rest);
    bounded(out.len())
}

/// The expression as this engine writes what RE2 means: `\d`, `\s`, `\w` and `\b` are of ASCII, braces that count nothing
/// are themselves, brackets within brackets too, and sets have no operators.
fn translated(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 16);
    let mut in_set = false;
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        let next = behind.chars().next();
        let mut taken = c.len_utf8();
        match (c, next) {
            ('\\', Some('Q')) => {
                let (literal, left) = behind[1..].split_once("\\E").unwrap_or((&behind[1..], ""));
                out.push_str(&regex::escape(literal));
                taken = rest.len() - left.len();
            }
            ('\\', Some(class @ ('d' | 'D' | 'w' | 'W' | 's' | 'S'))) => {
                let (set, negated) = match class {
                    'd' | 'D' => ("0-9", class == 'D'),
                    'w' | 'W' => ("0-9A-Za-z_", class == 'W'),
                    _ => (r"\t\n\f\r ", class == 'S'),
                };
                match (in_set, negated) {
                    (true, false) => out.push_str(set),
                    (_, negated) => out.extend(["[", if negated { "^" } else { "" }, set, "]"]),
                }
                taken += 1;
            }
            ('\\', Some('b')) if !in_set => {
                out.push_str(r"(?-u:\b)");
                taken += 1;
            }
            // What stands in these braces names a class or a letter.
            ('\\', Some('p' | 'P' | 'x')) if behind[1..].starts_with('{') => {
                taken = rest.find('}').map_or(rest.len(), |end| end + 1);
                out.push_str(&rest[..taken]);
            }
            ('\\', Some(other)) => {
                out.extend([c, other]);
                taken += other.len_utf8();
            }
            ('[', _) if !in_set => {
                in_set = true;
                out.push('[');
                // What comes first in a set is no bracket that ends it.
                let negated = behind.strip_prefix('^');
                if let Some(left) = negated {
                    out.push('^');
                    taken = rest.len() - left.len();
                }
                if let Some(left) = negated.unwrap_or(behind).strip_prefix(']') {
                    out.push_str(r"\]");
                    taken = rest.len() - left.len();
                }
            }
            ('[', _) if !behind.starts_with(':') => out.push_str(r"\["),
            (']', _) if in_set => {
                in_set = false;
                out.push(']');
            }
            ('&' | '~', Some(same)) if in_set && same == c => {
                out.extend([c, '\\', c]);
                taken += 1;
            }
            ('-', Some('-')) if in_set => {
                out.push_str(r"-\-");
                taken += 1;
            }
            ('{', _) if !in_set && !is_repetition(behind) => out.push_str(r"\{"),
            _ => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether what follows a brace says how often something comes: `2}`, `2,}` or `2,5}`.
fn is_repetition(behind: &str) -> bool {
    let Some((inside, _)) = behind.split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty() && least.bytes().chain(most.bytes()).all(|b| b.is_ascii_digit())
}

/// An expression ready to run. A copy of the engine would begin without what this one has learned of its states.
pub(super) struct Pattern {
    regex: Regex,
    /// In how many states a search may be at once, about.
    states: usize,
}

/// In how many states a search may be at once: each repetition that is counted is written out.
fn states(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1);
            states(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(capture) => states(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(states).fold(0, usize::saturating_add),
    }
}

/// The expression ready to run.
pub(super) fn compiled(expression: &str) -> Outcome<Rc<Pattern>> {
    thread_local! {
        static KEPT: RefCell<FxHashMap<EcoString, Rc<Pattern>>> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(pattern) = kept.get(expression) {
            return Ok(Rc::clone(pattern));
        }
        let translated = translated(expression);
        let built = RegexBuilder::new(&translated).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
        let regex = built.map_err(|cause| match cause {
            regex::Error::CompiledTooBig(_) => error(ErrorKind::Limit, "the regular expression is too large"),
            _ => {
                let why = match regex_syntax::parse(&translated) {
                    Err(regex_syntax::Error::Parse(cause)) => format!(": {}", cause.kind()),
                    Err(regex_syntax::Error::Translate(cause)) => format!(": {}", cause.kind()),
                    _ => String::new(),
                };
                error(ErrorKind::Value, format!("\"{}\" is not a regular expression{why}", excerpt(expression)))
            }
        })?;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let states = regex_syntax::parse(&translated).map_or(usize::MAX, |hir| states(&hir));
        let pattern = Rc::new(Pattern { regex, states });
        kept.insert(expression.into(), Rc::clone(&pattern));
        Ok(pattern)
    })
}
