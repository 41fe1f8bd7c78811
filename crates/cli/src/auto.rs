//! The recipe of a command: the one that is named, or one that suits the images.

use crate::args::{DEFAULT_RECIPE, value};
use crate::{format, host};
use anyhow::Result;
use mlaan::auto_recipe::{AutoRecipe, Choice, SCARCE, Wishes, auto_recipe, auto_recipe_of};
use mlaan::data::BUILTIN;
use mlaan::recipe::Recipe;
use mlaan::text;
use std::path::Path;

/// What is named on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// The recipe.
    pub recipe: Option<&'a str>,
    /// The images.
    pub data: Option<&'a str>,
    /// Weights to start from, and which of a file's.
    pub init: Option<&'a str>,
    /// Which network of that file.
    pub init_key: Option<&'a str>,
    /// Whether the network is to be cut into modules, as where memory is limited.
    pub local: bool,
}

/// A recipe before flags change it.
pub struct Base {
    /// What it is called: by its name, or by the images that it was chosen for.
    pub name: String,
    /// The recipe.
    pub recipe: Recipe,
    /// What was chosen, where no recipe was named.
    pub auto: Option<AutoRecipe>,
}

impl Base {
    /// The recipe that is named; else, for images of one's own, one that suits them; else the first run's. `keys` are what
    /// flags set: choices that depend on them follow.
    ///
    /// # Errors
    /// What is wrong with the recipe, or with the images.
    pub fn new(named: Named<'_>, keys: &[String]) -> Result<Self> {
        let source = named.data.or_else(|| value(keys, "data.source"));
        let name = called(named.recipe, source);
        match (named.recipe, source.filter(|source| *source != BUILTIN)) {
            (None, Some(source)) => {
                let wishes = wishes(named, keys);
                let auto = match host::given(source)? {
                    Some(given) => auto_recipe_of(given.survey(&wishes.open())?, source, &wishes)?,
                    None => auto_recipe(source, &wishes)?,
                };
                Ok(Base { name, recipe: auto.recipe.clone(), auto: Some(auto) })
            }
            _ => Ok(Base { recipe: Recipe::load(&name)?, name, auto: None }),
        }
    }

    /// As [`Base::new`], with the keys, and on the images.
    ///
    /// # Errors
    /// As [`Base::new`]; a key that is unknown or has an impossible value.
    pub fn with(named: Named<'_>, keys: &[String]) -> Result<Self> {
        let mut base = Base::new(named, keys)?;
        base.recipe.set_all(keys)?;
        named.data.into_iter().for_each(|source| base.recipe.set_source(source));
        Ok(base)
    }

    /// What was chosen and stands, as lines; none where a recipe was named.
    pub fn choices(&self, recipe: &Recipe) -> Option<String> {
        self.auto.as_ref().map(|auto| choices(auto, recipe))
    }
}

/// What a run is called: as its recipe, or as the images of one's own that its recipe is chosen for.
pub fn called(recipe: Option<&str>, source: Option<&str>) -> String {
    match (recipe, source.filter(|source| *source != BUILTIN)) {
        (Some(recipe), _) => recipe.into(),
        (None, Some(host::GIVEN)) => "own".into(),
        (None, Some(source)) => {
            let path = Path::new(source);
            let whole = path.canonicalize().unwrap_or_else(|_| path.into());
            whole.file_name().map_or_else(|| "own".into(), |name| name.to_string_lossy().into_owned())
        }
        (None, None) => DEFAULT_RECIPE.into(),
    }
}

fn wishes(named: Named<'_>, keys: &[String]) -> Wishes {
    let whole = |key: &str| value(keys, key).and_then(|text| text.parse().ok());
    let share = |key: &str| value(keys, key).and_then(|text| text.parse().ok());
    let init = named.init.or_else(|| value(keys, "model.init"));
    let key = named.init_key.or_else(|| value(keys, "model.init_key"));
    // What is said of modules and losses is for local learning; how it is recomputed is not.
    let local = |key: &String| key.starts_with("local.") && !key.starts_with("local.recompute");
    Wishes {
        local: named.local || keys.iter().any(local),
        size: whole("data.size"),
        batch: whole("train.batch"),
        limit: whole("data.limit"),
        test: share("data.test"),
        validation: share("data.validation"),
        seed: value(keys, "seed").and_then(|text| text.parse().ok()).unwrap_or(0),
        init: init.map(str::to_owned),
        init_key: key.map(str::to_owned),
    }
}

/// A line for every choice that flags have not changed, with its reason.
fn choices(auto: &AutoRecipe, recipe: &Recipe) -> String {
    let stands = |choice: &&Choice| {
        let mut same = recipe.clone();
        same.set_all(&choice.keys).is_ok() && same == *recipe
    };
    let shown: Vec<&Choice> = auto.choices.iter().filter(stands).collect();
    let width = shown.iter().map(|c| c.value.chars().count()).max().unwrap_or(0);
    let line = |c: &&Choice| {
        let why = text::line(&c.why);
        format!(" {:<10}  {:<width$}  {}", c.what, text::line(&c.value), format::dim(&why))
    };
    let lines: Vec<String> = shown.iter().map(line).collect();
    let few = auto.survey.images() < SCARCE && recipe.model.init.is_none();
    let more = match recipe.local.modules {
        1 if few => {
            "\nFew images: fine-tuning is usually far better: `--init resnet18.pth`, which PyTorch writes by \
             torch.save(torchvision.models.resnet18(weights=\"DEFAULT\").state_dict(), \"resnet18.pth\"). `--modules 4` learns in \
             less memory."
        }
        1 => "",
        _ => "\n`--modules 1` is backpropagation: more memory, and usually a few points more accurate.",
    };
    format!(
        "Chosen for these images (a flag or --set changes each):\n{}{}\n",
        lines.join("\n"),
        format::dim(more)
    )
}
