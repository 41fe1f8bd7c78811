//! A set whose labels count among other classes: those of a network that was trained on more of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Dataset, DatasetWrapper, as_written, class};

/// The images of `data`, labelled by `classes`: each by the name of its class.
///
/// # Errors
/// The names of those classes with images that are not among them. None, where a name stands for several classes.
pub fn by_name(
    data: &Arc<dyn Dataset>,
    classes: &[String],
) -> std::result::Result<Arc<dyn Dataset>, Vec<String>> {
    let theirs: BTreeMap<String, usize> =
        classes.iter().map(|name| class(&as_written(name))).zip(0..).collect();
    let ours: Vec<String> = data.classes().iter().map(|name| class(&as_written(name))).collect();
    let label: Vec<Option<usize>> = ours.iter().map(|name| theirs.get(name).copied()).collect();
    let mut used = vec![false; ours.len()];
    for index in 0..data.len() {
        if let Some(used) = used.get_mut(data.label(index)) {
            *used = true;
        }
    }
    let unknown = |(at, _): &(usize, &String)| used[*at] && label[*at].is_none();
    let unknown: Vec<String> =
        data.classes().iter().enumerate().filter(unknown).map(|(_, name)| name.clone()).collect();
    let distinct: BTreeMap<&String, ()> = ours.iter().map(|name| (name, ())).collect();
    if !unknown.is_empty() || theirs.len() < classes.len() || distinct.len() < ours.len() {
        return Err(unknown);
    }
    Ok(Arc::new(Relabelled { data: Arc::clone(data), classes: classes.to_vec(), labels: label }))
}

struct Relabelled {
    data: Arc<dyn Dataset>,
    classes: Vec<String>,
    /// By the label that an image has in `data`.
    labels: Vec<Option<usize>>,
}

impl DatasetWrapper for Relabelled {
    fn inner(&self) -> &dyn Dataset {
        self.data.as_ref()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        // Every class with images has one.
        self.labels.get(self.data.label(index)).copied().flatten().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageView, Memory};

    fn set(classes: &[&str], labels: &[usize]) -> Arc<dyn Dataset> {
        let mut set = Memory::new(classes.iter().map(|c| (*c).to_owned()).collect());
        for label in labels {
            set.push(ImageView { height: 1, width: 1, rgb: &[0, 0, 0] }, *label).unwrap();
        }
        Arc::new(set)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn labels_follow_names() {
        let few = set(&["cafe\u{301}", "dog", "emu"], &[1, 0, 1]);
        let among = by_name(&few, &names(&["ant", "caf\u{e9}", "dog"])).map_err(|_| ()).unwrap();
        assert_eq!((0..3).map(|i| among.label(i)).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!((among.len(), among.classes().len()), (3, 3));
    }

    #[test]
    fn what_loading_took_is_planned_as_without_names() {
        let mut few = Memory::new(names(&["cat", "dog"]));
        few.push(ImageView { height: 1, width: 1, rgb: &[0, 0, 0] }, 1).unwrap();
        few.loaded_with(1000);
        let few: Arc<dyn Dataset> = Arc::new(few);
        let among = by_name(&few, &names(&["ant", "cat", "dog"])).map_err(|_| ()).unwrap();
        assert_eq!((among.loading_bytes(), among.resident_bytes()), (1000, few.resident_bytes()));
    }

    #[test]
    fn classes_that_are_not_there_are_named() {
        let other = set(&["cat", "dog"], &[0, 1]);
        assert_eq!(by_name(&other, &names(&["cat", "ant"])).err(), Some(names(&["dog"])));
        assert_eq!(by_name(&other, &names(&["cat", "dog", "dog"])).err(), Some(Vec::new()));
    }
}
