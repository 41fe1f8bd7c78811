//! Which images of a set train, which validate, and which test.

use super::OpenOptions;
use super::formats::Parts;
use super::held_out::{Drawn, Shares, draw, split};
use super::limit::choose;
use super::notes::{Notes, few};
use super::stored::Stored;
use crate::{Error, Result};

/// Images of a split and which of them are used.
pub(super) type Chosen = (Stored, Vec<usize>);

/// See the module.
pub(super) struct Roles {
    /// The training split.
    pub train: Stored,
    /// Which of its images train, and which are held out.
    pub drawn: Drawn,
    /// The set's own validation images.
    pub validation: Option<Chosen>,
    /// The set's own test images.
    pub test: Option<Chosen>,
}

/// Whether shares of images can be what the options ask for.
///
/// # Errors
/// One that is no share.
pub(super) fn check(options: &OpenOptions) -> Result<()> {
    let wrong = |name: &str, found: f64, low: &str| {
        let message =
            format!("found {found}, expected a fraction of the images {low} to less than 1, as 0.1");
        Err(Error::data(format!("`{name}`"), message))
    };
    match (options.validation, options.test) {
        (Some(share), _) if !(0.0..1.0).contains(&share) => wrong("data.validation", share, "from 0"),
        (_, Some(share)) if !(share > 0.0 && share < 1.0) => wrong("data.test", share, "above 0"),
        _ => Ok(()),
    }
}

impl Roles {
    /// Of a set: its own splits are used for what they are called, and where one is missing a share of the training images
    /// stands in for it, if one is asked for. A validation share of 0 leaves out the set's own validation split.
    ///
    /// # Errors
    /// No test images and no share; a validation split that cannot be used; a share that leaves no image.
    pub fn of(parts: Parts, options: &OpenOptions, notes: &mut Notes) -> Result<Self> {
        let Parts { train, test, validation, .. } = parts;
        let own = validation.filter(|_| options.validation != Some(0.0));
        let own = own.transpose().map_err(|error| match error {
            Error::Data { place, message } => {
                let hint = "data.validation = 0 does without this validation split";
                Error::data(place, format!("{message}; {hint}"))
            }
            other => other,
        })?;
        if let Some(own) = &own {
            notes.append(own.notes.clone());
        }
        let share = options.validation.filter(|share| *share > 0.0);
        let shares = Shares {
            validation: share.filter(|_| own.is_none()),
            test: options.test.filter(|_| test.is_err()),
        };
        let unused = |key: &str, what: &str, place: &str| {
            format!("{key} is for sets without a {what} split of their own: {place} is used")
        };
        if let (Some(own), Some(_)) = (&own, share) {
            notes.remark(unused("data.validation", "validation", &own.place));
        }
        if let (Ok(test), Some(_)) = (&test, options.test) {
            notes.remark(unused("data.test", "test", &test.place));
        }
        let test = match test {
            Err(missing) if shares.test.is_none() => return Err(missing),
            test => test.ok(),
        };
        let drawn = draw(&train.labels, shares, options);
        for (key, held) in [("data.validation", &drawn.validation), ("data.test", &drawn.test)] {
            if held.as_ref().is_some_and(Vec::is_empty) {
                let message = format!("no class has an image to spare for {key}: each has one alone");
                return Err(Error::data(&train.place, message));
            }
        }
        let chosen = |stored: Stored, number| {
            let chosen = choose(&stored.labels, options.limit, options.seed, number);
            (stored, chosen)
        };
        let validation = own.map(|own| chosen(own, split::VALIDATION));
        let roles = Roles { train, drawn, validation, test: test.map(|test| chosen(test, split::TEST)) };
        // A limit may leave a class out on purpose.
        if options.limit.is_none() {
            roles.missing(notes);
        }
        Ok(roles)
    }

    /// The test images.
    pub fn test(&self) -> (&Stored, &[usize]) {
        match &self.test {
            Some((test, chosen)) => (test, chosen),
            None => (&self.train, self.drawn.test.as_deref().unwrap_or_default()),
        }
    }

    /// The validation images, where there are some.
    pub fn validation(&self) -> Option<(&Stored, &[usize])> {
        match (&self.validation, &self.drawn.validation) {
            (Some((validation, chosen)), _) => Some((validation, chosen)),
            (None, Some(held)) => Some((&self.train, held)),
            (None, None) => None,
        }
    }

    /// Says which classes are trained, but not tested, and which a share leaves out of validation.
    fn missing(&self, notes: &mut Notes) {
        if let Some(text) = without(self.test(), "test image", "tested") {
            notes.remark(text);
        }
        let held = self.drawn.validation.as_deref().map(|held| (&self.train, held));
        if let Some(text) = held.and_then(|found| without(found, "validation image", "validated")) {
            notes.remark(text);
        }
    }
}

/// Which classes have no image among those that are used of a split.
fn without((split, chosen): (&Stored, &[usize]), image: &str, done: &str) -> Option<String> {
    let mut there = vec![false; split.classes.len()];
    for label in chosen.iter().filter_map(|&index| split.labels.get(index)) {
        if let Some(there) = there.get_mut(*label as usize) {
            *there = true;
        }
    }
    let lost: Vec<&str> = split
        .classes
        .iter()
        .zip(&there)
        .filter(|(_, there)| !**there)
        .map(|(class, _)| class.as_str())
        .collect();
    let what = if lost.len() == 1 {
        format!("is a class without a {image}")
    } else {
        format!("are classes without {image}s")
    };
    (!lost.is_empty()).then(|| format!("{} {what} ({}): trained, but not {done}", few(lost), split.place))
}
