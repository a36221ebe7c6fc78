//! Which column a field or an embedding of a row feeds.

use std::collections::HashMap;

use bytestring::ByteString;

use crate::row::Schema;

/// Number of names up to which each is compared: that is faster than to look one up.
const FEW: usize = 16;

/// The order of fields and embeddings in the last row, and what is left for the current one.
pub(super) struct Orders<'s> {
    pub fields: Order<'s>,
    pub embeddings: Order<'s>,
    /// Number of items that lists of this row may still have.
    pub items: usize,
    /// Columns of this row whose field has come; see [`Needs`](super::Needs).
    pub given: Vec<bool>,
}

impl<'s> Orders<'s> {
    pub(super) fn new(schema: &'s Schema) -> Self {
        let fields = schema.columns.iter().map(|it| it.name.as_bytes());
        let embeddings = schema.embeddings.iter().map(|it| it.name.as_bytes());
        Self {
            fields: Order::new(fields.collect()),
            embeddings: Order::new(embeddings.collect()),
            items: 0,
            given: Vec::new(),
        }
    }

    /// Begins a row. An item of a list takes more here than on the wire, where it may have two
    /// bytes: all of a row's together may take `max_row_bytes`.
    pub(super) fn begin(&mut self, max_row_bytes: usize) {
        self.fields.next = 0;
        self.embeddings.next = 0;
        self.items = max_row_bytes / size_of::<ByteString>();
    }
}

/// The order of names in the last row. The next row usually has the same order; then no name has
/// to be searched for.
pub(super) struct Order<'s> {
    names: Vec<&'s [u8]>,
    last: Vec<usize>,
    next: usize,
    /// Made when many names come in another order.
    by_name: HashMap<&'s [u8], usize>,
}

impl<'s> Order<'s> {
    fn new(names: Vec<&'s [u8]>) -> Self {
        Self {
            names,
            last: Vec::new(),
            next: 0,
            by_name: HashMap::new(),
        }
    }

    /// The place of the row's next name among all names.
    pub(super) fn next(&mut self, name: &[u8]) -> Option<usize> {
        let at = self.next;
        self.next += 1;
        if let Some(place) = self.last.get(at)
            && self.names.get(*place).is_some_and(|it| *it == name)
        {
            return Some(*place);
        }
        let place = self.find(name)?;
        self.last.resize(self.names.len(), place);
        if let Some(last) = self.last.get_mut(at) {
            *last = place;
        }
        Some(place)
    }

    fn find(&mut self, name: &[u8]) -> Option<usize> {
        if self.names.len() <= FEW {
            return self.names.iter().position(|it| *it == name);
        }
        if self.by_name.is_empty() {
            let names = self.names.iter().enumerate();
            self.by_name = names.map(|(place, name)| (*name, place)).collect();
        }
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn i7_names_in_any_order_are_found_in_linear_time() {
        for number in [3, FEW, FEW + 1, 20_000] {
            let names: Vec<String> = (0..number).map(|it| format!("field {it}")).collect();
            let mut order = Order::new(names.iter().map(|it| it.as_bytes()).collect());
            for step in [1, 7, 11] {
                order.next = 0;
                for place in (0..number).map(|it| (it * step + 1) % number) {
                    assert_eq!(
                        order.next(names.get(place).unwrap().as_bytes()),
                        Some(place)
                    );
                }
                assert_eq!(order.next(b"another"), None);
            }
            // Few names are compared with each other; many are looked up.
            let looked_up = if number > FEW { number } else { 0 };
            assert_eq!(order.by_name.len(), looked_up);
        }
    }
}
