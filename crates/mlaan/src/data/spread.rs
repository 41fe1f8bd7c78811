//! A few of many.

/// At most `most` of the items, evenly spread.
pub(crate) fn spread<T>(items: &[T], most: usize) -> impl Iterator<Item = &T> {
    spread_of(items.len(), most).map(|index| &items[index])
}

/// At most `most` of the numbers below `n`, evenly spread.
pub(crate) fn spread_of(n: usize, most: usize) -> impl Iterator<Item = usize> + use<> {
    let taken = n.min(most);
    (0..taken).map(move |i| (i as u128 * n as u128 / taken as u128) as usize)
}
