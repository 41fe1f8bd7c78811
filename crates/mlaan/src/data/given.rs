//! Images that a program gives, as arrays or a data set of its own, before a recipe says which of them train, validate and test.

use super::held_out::{Shares, draw, split};
use super::limit::choose;
use super::{Dataset, Notes, OpenOptions, Orientation, Splits, Subset, Survey, roles};
use crate::{Error, Result};
use std::sync::Arc;

/// See the module. Nothing is copied.
#[derive(Clone)]
pub struct Given {
    /// What tables call the set.
    pub name: String,
    /// The form that they are in, for people.
    pub format: &'static str,
    /// Images to train on, and where others are missing, to hold them out of.
    pub train: Arc<dyn Dataset>,
    /// Images to validate on.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Images to test on.
    pub test: Option<Arc<dyn Dataset>>,
}

/// Images whose sizes are looked at.
const SAMPLE: usize = 64;

impl Given {
    /// The splits, with the shares held out and the limit kept that [`open`](super::open()) would.
    ///
    /// # Errors
    /// A split without images, or with other classes than the training images; no test images and no share of them.
    pub fn splits(&self, options: &OpenOptions) -> Result<Splits> {
        roles::check(options)?;
        self.check()?;
        let Given { train, validation, test, .. } = self;
        if test.is_none() && options.test.is_none() {
            let message =
                "there are no test images: give some, or hold some out with data.test, as data.test = 0.2";
            return Err(Error::NoTestImages { place: self.name.clone(), message: message.into() });
        }
        let own = validation.as_ref().filter(|_| options.validation != Some(0.0));
        let share = options.validation.filter(|share| own.is_none() && *share > 0.0);
        let shares = Shares { validation: share, test: options.test.filter(|_| test.is_none()) };
        let drawn = draw(&labels(train.as_ref()), shares, options);
        for (key, held) in [("data.validation", &drawn.validation), ("data.test", &drawn.test)] {
            if held.as_ref().is_some_and(Vec::is_empty) {
                let message = format!("no class has an image to spare for {key}: each has one alone");
                return Err(Error::data(&self.name, message));
            }
        }
        let limited = |data: &Arc<dyn Dataset>, number| -> Result<Arc<dyn Dataset>> {
            let chosen = choose(&labels(data.as_ref()), options.limit, options.seed, number);
            part(data, chosen, true)
        };
        let held = |indices: Option<Vec<usize>>| indices.map(|i| part(train, i, false)).transpose();
        let own = own.map(|own| limited(own, split::VALIDATION)).transpose()?;
        let test = match test {
            Some(test) => Some(limited(test, split::TEST)?),
            None => held(drawn.test)?,
        };
        let validation = match own {
            Some(own) => Some(own),
            None => held(drawn.validation)?,
        };
        Ok(Splits {
            name: self.name.clone(),
            format: self.format,
            train: part(train, drawn.train, true)?,
            validation,
            test: test.ok_or_else(|| Error::data(&self.name, "there are no test images"))?,
            skipped: 0,
            known: None,
            notes: Notes::default(),
            orientation: Orientation::Ignore,
        })
    }

    /// What the images are like, by their labels and the sizes of some of them.
    ///
    /// # Errors
    /// As [`Given::splits`]; an image that cannot be had.
    pub fn survey(&self, options: &OpenOptions) -> Result<Survey> {
        self.check()?;
        let train = self.train.as_ref();
        let chosen = choose(&labels(train), options.limit, options.seed, split::TRAIN);
        let mut per_class = vec![0; train.classes().len()];
        for &index in &chosen {
            per_class.get_mut(train.label(index)).into_iter().for_each(|n| *n += 1);
        }
        let (mut sides, mut scratch) = (Vec::new(), Vec::new());
        for &index in super::spread(&chosen, SAMPLE) {
            let image = train.image(index, &mut scratch)?;
            sides.push([image.height, image.width]);
        }
        let at_most = |data: &Arc<dyn Dataset>| options.limit.map_or(data.len(), |n| n.min(data.len()));
        Ok(Survey {
            name: self.name.clone(),
            format: self.format,
            known: None,
            classes: train.classes().to_vec(),
            per_class,
            test: self.test.as_ref().map(at_most),
            validation: self.validation.as_ref().map(at_most),
            median: super::survey::median(sides),
        })
    }

    /// Every split has images, with the same classes.
    fn check(&self) -> Result<()> {
        let others = [("validation", self.validation.as_ref()), ("test", self.test.as_ref())];
        let all = [("training", Some(&self.train))].into_iter().chain(others);
        for (split, data) in all.filter_map(|(split, data)| Some((split, data?))) {
            if data.is_empty() {
                return Err(Error::data(&self.name, format!("there is no {split} image")));
            }
            let (ours, theirs) = (self.train.classes().len(), data.classes().len());
            if data.classes() != self.train.classes() {
                let message = format!(
                    "the {split} images have other classes than the training images ({theirs} and {ours}): give the same names to all"
                );
                return Err(Error::data(&self.name, message));
            }
        }
        Ok(())
    }
}

fn labels(data: &dyn Dataset) -> Vec<u32> {
    (0..data.len()).map(|index| data.label(index) as u32).collect()
}

/// Some images of a set, in ascending order; the set itself where they are all.
fn part(data: &Arc<dyn Dataset>, indices: Vec<usize>, owns: bool) -> Result<Arc<dyn Dataset>> {
    Ok(match (indices.len() == data.len(), owns) {
        (true, true) => Arc::clone(data),
        (_, true) => Arc::new(Subset::new(Arc::clone(data), indices)?),
        (_, false) => Arc::new(Subset::sharing(Arc::clone(data), indices)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageView, Memory};

    fn set(per_class: usize) -> Arc<dyn Dataset> {
        let mut set = Memory::new(vec!["a".into(), "b".into()]);
        for i in 0..2 * per_class {
            set.push(ImageView { height: 1, width: 2, rgb: &[i as u8; 6] }, i % 2).unwrap();
        }
        Arc::new(set)
    }

    fn given(test: Option<Arc<dyn Dataset>>) -> Given {
        Given { name: "mine".into(), format: "arrays", train: set(20), validation: None, test }
    }

    #[test]
    fn splits_are_the_program_s_own_or_held_out() {
        let with = |test, options: OpenOptions| given(test).splits(&options);
        let lens = |s: &Splits| (s.train.len(), s.validation.as_ref().map(|v| v.len()), s.test.len());
        let plain = OpenOptions::default();
        assert!(with(None, plain.clone()).err().unwrap().to_string().contains("data.test"));
        let whole = with(Some(set(5)), plain.clone()).unwrap();
        assert_eq!(lens(&whole), (40, None, 10));
        assert!(whole.train.whole().is_none() && whole.train.resident_bytes() > 0);
        let held = OpenOptions { test: Some(0.25), validation: Some(0.2), ..plain.clone() };
        assert_eq!(lens(&with(None, held).unwrap()), (24, Some(6), 10));
        let few = OpenOptions { limit: Some(4), ..plain };
        let few = with(Some(set(5)), few).unwrap();
        let second: usize = (0..4).map(|i| few.train.label(i)).sum();
        assert_eq!((lens(&few), second), ((4, None, 4), 2), "as many of each class");
    }

    #[test]
    fn other_classes_are_refused_and_a_survey_counts() {
        let mut other = Memory::new(vec!["a".into()]);
        other.push(ImageView { height: 1, width: 1, rgb: &[0; 3] }, 0).unwrap();
        let wrong = given(Some(Arc::new(other))).splits(&OpenOptions::default()).err().unwrap().to_string();
        assert!(wrong.contains("test images have other classes"), "{wrong}");
        let survey = given(None).survey(&OpenOptions::default()).unwrap();
        assert_eq!((survey.per_class, survey.test, survey.median), (vec![20, 20], None, Some([1, 2])));
    }
}
