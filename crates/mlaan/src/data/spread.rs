//! A few of many.

/// At most `most` of the items, evenly spread.
pub(crate) fn spread<T>(items: &[T], most: usize) -> impl Iterator<Item = &T> {
    let taken = items.len().min(most);
    (0..taken).map(move |i| &items[(i as u128 * items.len() as u128 / taken as u128) as usize])
}
