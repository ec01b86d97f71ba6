//! The options of selects. Entities hold an option's id, so that a name may change without touching any of them; clients see
//! names.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ecow::{EcoString, eco_format};
use serde::{Deserialize, Serialize};

use crate::rejection::Rejection;
use crate::value::Value;

/// One option of a select.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Choice {
    /// What entities hold. Stays for good.
    pub id: EcoString,
    /// What clients read and write.
    pub name: EcoString,
    /// How it is meant to be shown: a word, or `#` with six hexadecimal digits.
    pub color: Option<EcoString>,
}

/// As in the log: the name alone if it says everything.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Name(EcoString),
    Whole {
        id: EcoString,
        name: EcoString,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        color: Option<EcoString>,
    },
}

impl From<Stored> for Choice {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Name(name) => Choice { id: name.clone(), name, color: None },
            Stored::Whole { id, name, color } => Choice { id, name, color },
        }
    }
}

impl From<Choice> for Stored {
    fn from(Choice { id, name, color }: Choice) -> Self {
        if id == name && color.is_none() { Stored::Name(name) } else { Stored::Whole { id, name, color } }
    }
}

/// By what a value is sorted: if it is of a select, which has `options`, by the place of its option, or the places of its
/// options; else by itself.
pub fn place_among<'a>(options: &[Choice], value: &'a Value) -> Cow<'a, Value> {
    match value {
        value if options.is_empty() => Cow::Borrowed(value),
        Value::Text(name) => {
            let place = options.iter().position(|option| option.name == *name);
            Cow::Owned(Value::from(place.unwrap_or(options.len()) as i64))
        }
        Value::List(names) => Cow::Owned(Value::List(names.iter().map(|name| place_among(options, name).into_owned()).collect())),
        other => Cow::Borrowed(other),
    }
}

/// One option as a user asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChoiceInput {
    /// Which of the options there are already; found by the name if it is left out.
    pub id: Option<String>,
    /// The name.
    pub name: String,
    /// How it is meant to be shown; as before if it is left out.
    pub color: Option<String>,
}

impl From<&str> for ChoiceInput {
    fn from(name: &str) -> Self {
        ChoiceInput { name: name.into(), ..ChoiceInput::default() }
    }
}

/// The most options of a select.
const CHOICES_MAX: usize = 1_000;

/// The most options of a select that may have gone before: entities may hold them.
const RETIRED_MAX: usize = 10_000;

/// The longest name of an option, in bytes.
const NAME_LENGTH_MAX: usize = 200;

/// The options that a select gets in place of those `before`; ids of such as went before are in `retired`.
pub fn checked(inputs: &[ChoiceInput], before: &[Choice], retired: &[EcoString]) -> Result<Vec<Choice>, Rejection> {
    if inputs.is_empty() || inputs.len() > CHOICES_MAX {
        return Err(Rejection::InvalidInput(format!("a select has 1 to {CHOICES_MAX} options, and this one {}", inputs.len())));
    }
    if retired.len() >= RETIRED_MAX {
        let message = format!("{RETIRED_MAX} options of this select were taken away; make another attribute and delete this one");
        return Err(Rejection::TooLarge(message));
    }
    let mut taken: BTreeSet<EcoString> = before.iter().map(|choice| choice.id.clone()).chain(retired.iter().cloned()).collect();
    let (mut names, mut ids, mut choices) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for ChoiceInput { id, name, color } in inputs {
        if name.trim().is_empty() || name.len() > NAME_LENGTH_MAX {
            return Err(Rejection::InvalidInput(format!("an option is not empty and has {NAME_LENGTH_MAX} bytes at most")));
        }
        if !names.insert(name.as_str()) {
            return Err(Rejection::InvalidInput(format!("the option `{name}` is given twice")));
        }
        if let Some(color) = color.as_ref().filter(|color| !is_color(color)) {
            let color: String = color.chars().take(40).collect();
            return Err(Rejection::InvalidInput(format!("a colour is a word of up to 32 letters or as \"#1a2b3c\", and not `{color}`")));
        }
        let old = match id {
            Some(id) => {
                let old = before.iter().find(|choice| choice.id == *id);
                if old.is_none() && !retired.iter().any(|retired| retired == id) {
                    let short: String = id.chars().take(40).collect();
                    return Err(Rejection::InvalidInput(format!("there is no option with the id `{short}`, and there was none")));
                }
                old
            }
            // One that another input asks for by its id goes by the name there.
            None => {
                before.iter().find(|choice| choice.name == *name && !inputs.iter().any(|other| other.id.as_deref() == Some(&choice.id)))
            }
        };
        // One that was taken away comes back by its id, and with it what is stored.
        let id = match (old, id) {
            (Some(old), _) => old.id.clone(),
            (None, Some(retired)) => retired.as_str().into(),
            (None, None) => new_id(name, &taken),
        };
        if !ids.insert(id.clone()) {
            return Err(Rejection::InvalidInput(format!("the option with the id `{id}` is given twice")));
        }
        taken.insert(id.clone());
        let color = color.as_deref().map(EcoString::from).or_else(|| old.and_then(|old| old.color.clone()));
        choices.push(Choice { id, name: name.as_str().into(), color });
    }
    Ok(choices)
}

/// The name, or what comes next to it that no option had.
fn new_id(name: &str, taken: &BTreeSet<EcoString>) -> EcoString {
    let mut id = EcoString::from(name);
    let mut number = 2;
    while taken.contains(&id) {
        id = eco_format!("{name}~{number}");
        number += 1;
    }
    id
}

fn is_color(color: &str) -> bool {
    match color.strip_prefix('#') {
        Some(digits) => digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => (1..=32).contains(&color.len()) && color.bytes().all(|byte| byte.is_ascii_alphabetic()),
    }
}
