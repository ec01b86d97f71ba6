//! What is asked of a document before it is validated, which goes through a fragment again wherever it is spread: thirty
//! fragments that spread the next one twice are a thousand million fields.

use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Request, ServerError, ServerResult};
use rustc_hash::{FxHashMap, FxHashSet};

/// How many fields a document may have, those of a fragment counted wherever it is spread.
const FIELDS_MAX: usize = 20_000;

/// How many fragments may lie within one another.
const FRAGMENTS_NESTED_MAX: usize = 64;

/// The request with its document, unless that is larger than it looks, or subscribes to more than one thing.
pub(super) fn checked(mut request: Request) -> ServerResult<Request> {
    check(request.parsed_query()?)?;
    Ok(request)
}

fn check(document: &ExecutableDocument) -> ServerResult<()> {
    let mut count = Count { document, of_fragments: FxHashMap::default() };
    let mut fields = 0_usize;
    // Those that nothing spreads are validated too.
    for name in document.fragments.keys() {
        fields = fields.saturating_add(count.fragment(name, 0)?.fields);
    }
    for (_, operation) in document.operations.iter() {
        let selected = &operation.node.selection_set.node;
        fields = fields.saturating_add(count.size(selected, 0)?.fields);
        if operation.node.ty == OperationType::Subscription && root_fields(document, selected).len() > 1 {
            let message = "a subscription has one field at its root: subscribe once for each";
            return Err(ServerError::new(message, Some(operation.pos)));
        }
    }
    if fields > FIELDS_MAX {
        let message = format!("the document has more than {FIELDS_MAX} fields, those of fragments counted wherever they are spread");
        return Err(ServerError::new(message, None));
    }
    Ok(())
}

struct Count<'a> {
    document: &'a ExecutableDocument,
    /// Nothing for those that are being counted: one that spreads itself is refused later, by name.
    of_fragments: FxHashMap<&'a Name, Size>,
}

/// What there is when fragments are written out.
#[derive(Clone, Copy, Default)]
struct Size {
    fields: usize,
    /// How many fragments lie within one another.
    nested: usize,
}

impl<'a> Count<'a> {
    /// The size of what is selected within so many fragments.
    fn size(&mut self, set: &'a SelectionSet, within: usize) -> ServerResult<Size> {
        let mut size = Size::default();
        for selection in &set.items {
            let more = match &selection.node {
                Selection::Field(field) => {
                    let Size { fields, nested } = self.size(&field.node.selection_set.node, within)?;
                    Size { fields: fields.saturating_add(1), nested }
                }
                Selection::InlineFragment(inline) => self.size(&inline.node.selection_set.node, within)?,
                Selection::FragmentSpread(spread) => {
                    let size = self.fragment(&spread.node.fragment_name.node, within)?;
                    if within + size.nested > FRAGMENTS_NESTED_MAX {
                        let message = format!("fragments may lie {FRAGMENTS_NESTED_MAX} deep within one another");
                        return Err(ServerError::new(message, Some(selection.pos)));
                    }
                    size
                }
            };
            size.fields = size.fields.saturating_add(more.fields);
            size.nested = size.nested.max(more.nested);
        }
        Ok(size)
    }

    /// The size of a fragment, itself one of those that lie within one another.
    fn fragment(&mut self, name: &'a Name, within: usize) -> ServerResult<Size> {
        if let Some(known) = self.of_fragments.get(name) {
            return Ok(*known);
        }
        // So the recursion ends, and the caller refuses it.
        let too_deep = Size { fields: 0, nested: 1 };
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        if within >= FRAGMENTS_NESTED_MAX {
            return Ok(too_deep);
        }
        self.of_fragments.insert(name, Size::default());
        let Size { fields, nested } = self.size(&fragment.node.selection_set.node, within + 1)?;
        let size = Size { fields, nested: nested + 1 };
        self.of_fragments.insert(name, size);
        Ok(size)
    }
}

/// The names under which what is at the root is answered.
fn root_fields<'a>(document: &'a ExecutableDocument, operation: &'a SelectionSet) -> FxHashSet<&'a Name> {
    let (mut names, mut spread_before, mut sets) = (FxHashSet::default(), FxHashSet::default(), vec![operation]);
    while let Some(set) = sets.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => drop(names.insert(&field.node.response_key().node)),
                Selection::InlineFragment(inline) => sets.push(&inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if spread_before.insert(name) {
                        sets.extend(document.fragments.get(name).map(|fragment| &fragment.node.selection_set.node));
                    }
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn refusal(document: &str) -> Option<String> {
        check(&parse_query(document).unwrap()).err().map(|error| error.message)
    }

    /// Fragments that each spread the next one so many times.
    fn doubling(count: usize, times: usize) -> String {
        let spreads = |n: usize| format!("...F{n} ").repeat(times);
        let fragments =
            (0..count).map(|n| format!("fragment F{n} on Query {{ {} }}\n", if n + 1 < count { spreads(n + 1) } else { "a".into() }));
        format!("{{ ...F0 }}\n{}", fragments.collect::<String>())
    }

    #[test]
    fn fragments_count_wherever_they_are_spread() {
        assert_eq!(refusal(&doubling(8, 2)), None);
        for (count, times) in [(20, 2), (64, 2), (10, 100)] {
            assert!(refusal(&doubling(count, times)).unwrap().contains("fields"), "{count} of {times}");
        }
        assert_eq!(refusal(&doubling(64, 1)), None);
        for count in [65, 100, 10_000] {
            assert!(refusal(&doubling(count, 1)).unwrap().contains("deep"), "{count}");
        }
        // What is wrong otherwise is said by the validation.
        assert_eq!(refusal("{ ...A ...None } fragment A on Query { a ...B } fragment B on Query { ...A }"), None);
        assert!(refusal(&format!("{{ {} }}", "a ".repeat(20_001))).is_some());
    }

    #[test]
    fn a_subscription_is_to_one_thing() {
        assert_eq!(refusal("subscription { a ...A } fragment A on S { a }"), None);
        assert_eq!(refusal("query { a b }"), None);
        for two in [
            "subscription { a b }",
            "subscription { a: b b }",
            "subscription { a ... { b } }",
            "subscription { a ...A } fragment A on S { b ...A }",
        ] {
            assert!(refusal(two).unwrap().contains("one field"), "{two}");
        }
    }
}
