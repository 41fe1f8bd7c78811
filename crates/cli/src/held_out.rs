//! Test images where a set has none: a fraction of every class is held out, as `mlaan train --data` alone does.

use crate::output;
use anyhow::Result;
use mlaan::Error;
use mlaan::auto_recipe::TEST;
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
    format!(
        "there are no test images; {:.0} % of every class are held out to test on, as by `mlaan train --data`",
        100.0 * TEST
    )
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
