//! WordNet's ids, by which ImageNet calls its classes.

/// Whether a class is called by a WordNet id.
pub(super) fn is_synset(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|b| b.is_ascii_digit())
}
