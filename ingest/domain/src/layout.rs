//! Which attributes some cells are of. Many entities have cells of the same attributes: they share the list of these, so
//! that each holds but its values.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::id::AttributeId;

/// The attributes of some cells, sorted, each once.
#[derive(Clone)]
pub struct Layout(Ids);

#[derive(Clone)]
enum Ids {
    /// Shared by all that have the same, for good.
    Shared(&'static &'static [AttributeId]),
    /// Of nobody else, for there are too many different ones.
    Own(Arc<[AttributeId]>),
}

/// How much memory lists may take that are shared, in bytes.
const SHARED_MAX: usize = 64 << 20;

/// The lists that are shared.
#[derive(Default)]
struct SharedLists {
    lists: HashMap<&'static [AttributeId], &'static &'static [AttributeId]>,
    bytes: usize,
}

static SHARED: LazyLock<RwLock<SharedLists>> = LazyLock::new(RwLock::default);

thread_local! {
    /// The list that this thread asked for last: rows of one collection come by the thousand.
    static LAST: Cell<Option<&'static &'static [AttributeId]>> = const { Cell::new(None) };
}

impl Layout {
    /// The layout of these attributes, which are sorted, each once.
    pub fn of(ids: &[AttributeId]) -> Layout {
        debug_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "they are sorted");
        if ids.is_empty() {
            return Layout::default();
        }
        if let Some(last) = LAST.get().filter(|last| **last == ids) {
            return Layout(Ids::Shared(last));
        }
        if let Some(list) = SHARED.read().unwrap_or_else(PoisonError::into_inner).lists.get(ids) {
            LAST.set(Some(list));
            return Layout(Ids::Shared(list));
        }
        let mut shared = SHARED.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = shared.lists.get(ids) {
            return Layout(Ids::Shared(list));
        }
        // The list, its place, and its place among the others.
        let bytes = size_of_val(ids) + 4 * size_of::<usize>();
        if shared.bytes + bytes > SHARED_MAX {
            return Layout(Ids::Own(ids.into()));
        }
        shared.bytes += bytes;
        let list: &'static [AttributeId] = Box::leak(ids.into());
        let list: &'static &'static [AttributeId] = Box::leak(Box::new(list));
        shared.lists.insert(list, list);
        Layout(Ids::Shared(list))
    }

    /// The attributes.
    pub fn ids(&self) -> &[AttributeId] {
        match &self.0 {
            Ids::Shared(list) => list,
            Ids::Own(list) => list,
        }
    }

    /// The place of an attribute's cell, or the place where it would be.
    pub fn find(&self, attribute: AttributeId) -> Result<usize, usize> {
        self.ids().binary_search(&attribute)
    }

    /// The layout with one attribute more, which is to be at this place.
    pub fn with(&self, place: usize, attribute: AttributeId) -> Layout {
        let mut ids = Vec::with_capacity(self.ids().len() + 1);
        ids.extend_from_slice(self.ids());
        ids.insert(place, attribute);
        Layout::of(&ids)
    }

    /// The layout without the attribute at this place.
    pub fn without(&self, place: usize) -> Layout {
        let mut ids = self.ids().to_vec();
        ids.remove(place);
        Layout::of(&ids)
    }

    /// How much memory it takes beside itself, in bytes, that nobody shares.
    pub fn own_bytes(&self) -> usize {
        match &self.0 {
            Ids::Shared(_) => 0,
            Ids::Own(list) => size_of_val(&**list) + 2 * size_of::<usize>(),
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        static NONE: &[AttributeId] = &[];
        Layout(Ids::Shared(&NONE))
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ids::Shared(one), Ids::Shared(two)) if std::ptr::eq(*one, *two) => true,
            _ => self.ids() == other.ids(),
        }
    }
}

impl Eq for Layout {}

impl Hash for Layout {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ids().hash(state);
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_same_attributes_are_one_list() {
        let [a, b, c] = [1, 2, 3].map(|n| AttributeId(Uuid::from_u128(n)));
        let both = Layout::of(&[a, c]);
        let Ids::Shared(one) = &both.0 else { panic!("there is room for it") };
        let Ids::Shared(two) = Layout::of(&[a]).with(1, c).0 else { panic!("there is room for it") };
        assert!(std::ptr::eq(*one, two));
        assert_eq!(both.find(b), Err(1));
        assert_eq!(both.with(1, b).without(0), Layout::of(&[b, c]));
        assert_eq!(Layout::of(&[a]).without(0), Layout::default());
        assert_eq!(Layout(Ids::Own([a, c].as_slice().into())), both);
    }
}
