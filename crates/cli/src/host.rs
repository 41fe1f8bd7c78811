//! Who runs the commands of a thread: a terminal, or a program that embeds them, as the Python package does.

use anyhow::Result;
use mlaan::data::{Given, Names, Splits, Stoppable};
use mlaan::recipe::Recipe;
use mlaan::train::{Progress, Trainer, setup};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The source of images that a program gives, as recipes have it: they lie in no file.
pub const GIVEN: &str = "(given)";

/// A program that embeds commands.
pub trait Host {
    /// Takes what a command prints.
    fn print(&self, text: &str);
    /// Takes a note or warning, one line.
    fn note(&self, line: &str);
    /// Set where the command shall stop: a run saves first.
    fn stop(&self) -> &Arc<AtomicBool>;
    /// The images that the program gives in place of a path.
    fn images(&self) -> Option<&Given>;
    /// Hears of the folder of a run or a comparison, before its first step: from now on there is something to save.
    fn begun(&self, folder: &Path);
    /// Hears what a run does.
    fn progress(&self, progress: Progress<'_>);
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// The program that embeds this thread's command; none in a terminal.
pub fn current() -> Option<Rc<dyn Host>> {
    HOST.with_borrow(Clone::clone)
}

/// Runs `work` for a program.
pub fn with<R>(host: Rc<dyn Host>, work: impl FnOnce() -> R) -> R {
    /// Whatever becomes of the work.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            HOST.set(None);
        }
    }
    HOST.set(Some(host));
    let _leave = Leave;
    work()
}

/// The images that the program gives, where `source` means these.
///
/// # Errors
/// Where it gives none: they were of a program that ran before.
pub fn given(source: &str) -> mlaan::Result<Option<Given>> {
    if source != GIVEN {
        return Ok(None);
    }
    let given = current().and_then(|host| host.images().cloned());
    let message = "these images were given by a program and lie in no file: give them again, or name a set";
    given.map(Some).ok_or_else(|| mlaan::Error::data("images", message))
}

/// Opens a recipe's images; those of a program stop the command where it shall.
///
/// # Errors
/// What is wrong with the data, and where.
pub fn open(recipe: &Recipe, threads: usize, names: Names) -> mlaan::Result<Splits> {
    let splits = match given(&recipe.data.source)? {
        Some(given) => given.splits(&setup::open_options(recipe, threads, names))?,
        None => setup::open_with(recipe, threads, names)?,
    };
    Ok(match current() {
        Some(host) => Stoppable::all(splits, host.stop()),
        None => splits,
    })
}

/// A trainer on the images of the program; none where the recipe names others.
///
/// # Errors
/// As [`Trainer::in_stages`].
pub fn trainer(recipe: &Recipe, devices: &[mlaan::Device]) -> Result<Option<Trainer>> {
    let Some(given) = given(&recipe.data.source)? else { return Ok(None) };
    recipe.validate()?;
    let threads = devices.iter().map(mlaan::Device::threads).sum();
    let splits = given.splits(&setup::open_options(recipe, threads, Names::Test))?;
    Ok(Some(Trainer::in_stages(recipe, &setup::backbone(&recipe.model)?, splits, devices)?))
}
