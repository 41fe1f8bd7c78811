//! The data sets of the paper (METHOD §8): what a suite may ask for, known without the images.

use crate::data::{Known, Splits, Survey};
use crate::text::nearest;
use crate::{Error, Result};

/// A data set that suites name.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownSet {
    /// As suites and `--data NAME=PATH` write it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Classes.
    pub classes: usize,
    /// What its form says it is.
    pub known: Known,
    /// What a recipe sets for its images, as `--set` takes it.
    pub keys: &'static [&'static str],
}

/// Every set that is known.
pub const SETS: &[KnownSet] = &[
    KnownSet {
        name: "cifar10",
        title: "CIFAR-10",
        train: 50_000,
        test: 10_000,
        classes: 10,
        known: Known::Cifar10,
        keys: &["data.size=32"],
    },
    KnownSet {
        name: "svhn",
        title: "SVHN",
        train: 73_257,
        test: 26_032,
        classes: 10,
        known: Known::Svhn,
        keys: &["data.size=32", "data.augment=svhn", "data.normalise=svhn"],
    },
    KnownSet {
        name: "stl10",
        title: "STL-10",
        train: 5_000,
        test: 8_000,
        classes: 10,
        known: Known::Stl10,
        keys: &["data.size=96", "data.augment=stl10", "data.normalise=stl10"],
    },
    KnownSet {
        name: "imagenet",
        title: "ImageNet",
        train: 1_281_167,
        test: 50_000,
        classes: 1000,
        known: Known::Imagenet,
        keys: &["data.size=224", "data.augment=imagenet", "data.normalise=imagenet"],
    },
];

impl KnownSet {
    /// The set of this name.
    ///
    /// # Errors
    /// [`Error::Data`] with the names that there are.
    pub fn find(name: &str) -> Result<&'static KnownSet> {
        let unknown = || {
            let names: Vec<&str> = SETS.iter().map(|s| s.name).collect();
            let near = nearest(name, names.iter().copied(), 1);
            let hint = near.first().map(|n| format!(" Did you mean {n}?")).unwrap_or_default();
            Error::data(name, format!("no data set of this name.{hint} Known are {}", names.join(", ")))
        };
        SETS.iter().find(|s| s.name == name).ok_or_else(unknown)
    }

    /// Training and test images that a limited run uses.
    pub fn images(&self, limit: Option<usize>) -> [usize; 2] {
        [self.train, self.test].map(|n| limit.map_or(n, |most| n.min(most)))
    }

    /// Whether these can be its images, of which `limit` were counted.
    pub fn could_be(&self, survey: &Survey, limit: Option<usize>) -> bool {
        let [train, test] = self.images(limit);
        let same = survey.known.is_none_or(|known| known == self.known);
        same && survey.classes.len() == self.classes && survey.images() == train && survey.test == Some(test)
    }

    /// Whether these can be its images, of which a limited run uses some.
    ///
    /// # Errors
    /// [`Error::Data`] where they are of another set: says what was found, and how to compare on it all the same.
    pub(super) fn check(&self, splits: &Splits, limit: Option<usize>, place: &str) -> Result<()> {
        // Validation images are some of those for training: none of these sets has others.
        let validation = splits.validation.as_ref().map_or(0, |data| data.len());
        let found = [splits.train.len() + validation, splits.test.len()];
        let wanted = self.images(limit);
        // Broken images may have been left out.
        let enough = |(n, most): (&usize, &usize)| n <= most && n + splits.skipped >= *most;
        let classes = splits.train.classes().len();
        let is_other = splits.known.is_some_and(|k| k != self.known);
        if !is_other && classes == self.classes && found.iter().zip(&wanted).all(enough) {
            return Ok(());
        }
        let said = |[train, test]: [usize; 2], classes: usize| {
            format!("{train} training and {test} test images of {classes} classes")
        };
        let message = format!(
            "these are not the images of {}: wanted are {}, found {}. Pass another --data, or compare on these with \
             `--set data.source={place}`",
            self.title,
            said(wanted, self.classes),
            said(found, classes)
        );
        Err(Error::data(place, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Suite;
    use crate::data::{BUILTIN, synthetic};

    #[test]
    fn another_set_is_not_taken_for_the_one_that_is_wanted() {
        let cifar10 = KnownSet::find("cifar10").unwrap();
        let mut splits = synthetic::splits(0, 20, 20).unwrap();
        let check = |splits: &Splits, limit| cifar10.check(splits, limit, "there").map_err(|e| e.to_string());
        // Ten classes and as many images as a limit leaves: nothing tells them apart.
        assert_eq!(check(&splits, Some(20)), Ok(()));
        let message = check(&splits, None).unwrap_err();
        assert!(
            message.contains("wanted are 50000 training") && message.contains("found 20 training"),
            "{message}"
        );
        assert!(message.contains("data.source=there"), "{message}");
        assert!(check(&splits, Some(21)).is_err());
        splits.skipped = 1;
        assert_eq!(check(&splits, Some(21)), Ok(()), "a broken image is no other set");
        splits.known = Some(Known::Cifar10);
        assert_eq!(check(&splits, Some(20)), Ok(()));
        splits.known = Some(Known::Svhn);
        assert!(check(&splits, Some(20)).is_err(), "its form says that it is SVHN");
        let imagenet = KnownSet::find("imagenet").unwrap();
        splits.known = None;
        assert!(imagenet.check(&splits, Some(20), "there").is_err(), "ten classes");
    }

    #[test]
    fn other_images_are_named_as_such() {
        let text = "title = \"t\"\ndata = \"cifar10\"\nrows = [{ name = \"bp\", recipe = \"bp-resnet8\" }]";
        let suite = Suite::parse(text, "s", "s", "".as_ref()).unwrap();
        let mut table = suite.table(&[]).unwrap();
        assert!(
            table.find_data(&["cifr10=x".into()]).unwrap_err().to_string().contains("Did you mean cifar10?")
        );
        table.find_data(&[BUILTIN.into()]).unwrap();
        assert_eq!(
            (table.cells[0].set, table.changes.as_slice()),
            (None, &["data.source=builtin".to_owned()][..])
        );
        let own = suite.table(&["data.source=mine".into()]).unwrap();
        assert_eq!((own.cells[0].set, own.cells[0].source.as_deref()), (None, Some("mine")));
    }
}
