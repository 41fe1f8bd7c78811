//! Test images where a set has none: a fraction of every class is held out, as `mlaan train --data` alone does.

use crate::output;
use anyhow::Result;
use mlaan::Error;
use mlaan::auto_recipe::{AutoRecipe, TEST};
use mlaan::recipe::Recipe;

/// Works with the images that were named on the command line (`named`). Where they lack a test split and nobody said what stands
/// in for it, a fraction of every class does, which is noted in the recipe and told.
///
/// # Errors
/// What the work finds wrong beside that.
pub fn or_held_out<T>(recipe: &mut Recipe, named: bool, work: impl Fn(&Recipe) -> Result<T>) -> Result<T> {
    match work(recipe) {
        Err(e) if named && recipe.data.test.is_none() && lacks_test_images(&e) => {}
        found => return found,
    }
    recipe.data.test = Some(TEST);
    let found = work(recipe)?;
    output::note(&format!("note: {} (--test sets another fraction)", note()));
    Ok(found)
}

/// What is told of it.
pub fn note() -> String {
    tested_on(TEST)
}

fn tested_on(share: f64) -> String {
    format!("there are no test images; {} % of every class are held out to test on", percent(share))
}

fn percent(share: f64) -> f64 {
    (1000.0 * share).round() / 10.0
}

/// What a recipe that was chosen for images holds out of them, for a program: a terminal shows the choices themselves.
pub fn of_choices(auto: &AutoRecipe, recipe: &Recipe) -> Vec<String> {
    let (chosen, stands) = (&auto.recipe.data, &recipe.data);
    let test = chosen.test.filter(|_| auto.survey.test.is_none() && chosen.test == stands.test);
    let validation = chosen.validation.filter(|share| {
        *share > 0.0 && auto.survey.validation.is_none() && chosen.validation == stands.validation
    });
    let test = test.map(|share| format!("note: {} (--test sets another fraction)", tested_on(share)));
    let validation = validation.map(|share| {
        let share = percent(share);
        format!("note: {share} % of the training images are held out to validate on (--validation sets another fraction)")
    });
    test.into_iter().chain(validation).collect()
}

fn lacks_test_images(e: &anyhow::Error) -> bool {
    matches!(e.downcast_ref(), Some(Error::NoTestImages { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_test_images_are_made_up_for() {
        let missing = || Error::NoTestImages { place: "photos".into(), message: "none".into() };
        let tried = |recipe: &mut Recipe, named| {
            or_held_out(recipe, named, |r| match r.data.test {
                Some(share) => Ok(share),
                None => Err(missing().into()),
            })
        };
        let recipe = || Recipe::load("bp-resnet32").unwrap();
        let mut held = recipe();
        assert_eq!(tried(&mut held, true).unwrap(), TEST);
        assert_eq!(held.data.test, Some(TEST));
        let mut other = recipe();
        assert!(tried(&mut other, false).is_err() && other.data.test.is_none());
        let other = or_held_out::<()>(&mut recipe(), true, |_| Err(Error::data("photos", "damaged").into()));
        assert!(other.unwrap_err().to_string().contains("damaged"));
    }
}
