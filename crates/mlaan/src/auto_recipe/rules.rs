//! The rules: from what the images are to keys of a recipe, each with its reason.

use super::weights::Weights;
use super::wishes::Wishes;
use crate::data::Survey;

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Choice {
    /// What it is about, in a word or two.
    pub what: &'static str,
    /// What was chosen, for people.
    pub value: String,
    /// Why.
    pub why: String,
    /// The keys that it sets, as `--set` takes them.
    pub keys: Vec<String>,
}

/// See the module.
pub(super) struct Rules<'a> {
    pub survey: &'a Survey,
    pub wishes: &'a Wishes,
    pub weights: Option<&'a Weights>,
}

/// Fraction of the images that is held out for testing, where the set has no test split.
pub const TEST: f64 = 0.2;
/// Training images of the smallest class from which on some are held out to validate on.
const VALIDATED: usize = 25;
/// Images below which a fifth validates.
const FEW: usize = 200;
/// Images below which backpropagation needs little memory, and accuracy matters more.
pub const SCARCE: usize = 2_000;
/// Largest shorter side of images that are taken as they are.
const SMALL: usize = 48;
/// Image size for photographs.
const PHOTO: usize = 64;
/// Image size for photographs, of which there are many.
const LARGE_PHOTO: usize = 96;
/// Images from which on there are many.
const MANY: usize = 20_000;
/// Largest image size for networks of the CIFAR family, which keep their first stage at the full size.
const CIFAR_SIZE: usize = 96;
/// Fewest images of a step: BatchNorm estimates means and variances from them.
const LEAST_BATCH: usize = 4;
/// Most images of a step.
const MOST_BATCH: usize = 128;
/// Image size of ImageNet's networks.
const IMAGENET_SIZE: usize = 224;
/// Learning rate of fine-tuning.
const TUNING: f64 = 0.01;
/// Epochs of fine-tuning.
const TUNING_EPOCHS: usize = 10;

impl Rules<'_> {
    /// The parts that the recipe is made of, by name, and what is changed of them.
    pub fn choose(&self) -> ([String; 3], Vec<Choice>) {
        let (method, network, about) = self.network();
        let mut choices = vec![about, self.size()];
        choices.extend([self.test(), self.validation(), self.batch(), self.epochs(), self.rate()]);
        choices.extend(self.statistics());
        choices.retain(|choice| !self.is_wished(choice.what));
        ([method.into(), network, "own".into()], choices)
    }

    /// Whether the user has said it, so that it is no choice.
    fn is_wished(&self, what: &str) -> bool {
        let w = self.wishes;
        match what {
            "images" => w.size.is_some(),
            "batch" => w.batch.is_some(),
            "test" => w.test.is_some(),
            "validation" => w.validation.is_some(),
            _ => false,
        }
    }

    /// Images that train, after shares are held out.
    fn training(&self) -> usize {
        // What is held out to validate on is a fraction of what testing leaves.
        let left = |held: Option<f64>| 1.0 - held.unwrap_or(0.0);
        let part = left(self.test_share()) * left(self.validation_share());
        (self.survey.images() as f64 * part).round() as usize
    }

    fn test_share(&self) -> Option<f64> {
        self.survey.test.is_none().then_some(self.wishes.test.unwrap_or(TEST))
    }

    /// Part of the images that is held out to validate on: a tenth, of few images a fifth, since they say little otherwise.
    fn validation_share(&self) -> Option<f64> {
        if self.survey.validation.is_some() {
            return None;
        }
        let few = if self.survey.images() < FEW { 0.2 } else { 0.1 };
        let least = self.survey.per_class.iter().min().copied().unwrap_or(0);
        let left = least as f64 * (1.0 - self.test_share().unwrap_or(0.0));
        self.wishes.validation.or((left >= VALIDATED as f64).then_some(few))
    }

    fn network(&self) -> (&'static str, String, Choice) {
        let (images, classes, side) = (self.survey.images(), self.survey.classes.len(), self.side());
        if let Some(weights) = self.weights {
            let network = weights.network();
            let value = format!("backpropagation, ResNet-{}", weights.model.backbone.depth());
            let why = format!("the network of {}", weights.from);
            return ("bp", network, Choice { what: "network", value, why, keys: Vec::new() });
        }
        let (depth, modules) = match (side > CIFAR_SIZE, images) {
            (true, _) => (18, 4),
            (false, 0..SCARCE) => (14, 4),
            (false, SCARCE..MANY) => (20, 4),
            (false, _) => (32, 4),
        };
        let wide = classes > 100 && side <= CIFAR_SIZE;
        let width = if wide { ", twice as wide as usual" } else { "" };
        let seen = format!("{} and {}", counted(images, "image"), classes_of(classes));
        let why = match side > CIFAR_SIZE {
            true => format!("{seen}, of {side} pixels"),
            false => seen,
        };
        let mut keys = vec![format!("model.backbone=resnet{depth}")];
        keys.extend(wide.then(|| "model.width=32".to_owned()));
        if images < SCARCE && !self.wishes.local {
            let value = format!("backpropagation, ResNet-{depth}{width}");
            let why = format!("{why}: so few need little memory");
            return ("bp", format!("resnet{depth}"), Choice { what: "network", value, why, keys });
        }
        let value = format!("DGL, ResNet-{depth} in {modules} modules{width}");
        keys.insert(1, format!("local.modules={modules}"));
        ("dgl", format!("resnet{depth}-{modules}"), Choice { what: "network", value, why, keys })
    }

    /// Side of the images that the network sees.
    fn side(&self) -> usize {
        let many = self.survey.images() >= MANY;
        let shorter = self.survey.median.map_or(PHOTO, |[h, w]| h.min(w));
        self.wishes.size.unwrap_or(match self.weights {
            Some(weights) if weights.size.is_some() => weights.size.unwrap_or(IMAGENET_SIZE),
            Some(weights) if weights.is_imagenet() => shorter.next_multiple_of(32).clamp(64, IMAGENET_SIZE),
            Some(_) => 32,
            None if shorter <= SMALL => shorter.next_multiple_of(4).max(16),
            None if many && shorter >= LARGE_PHOTO => LARGE_PHOTO,
            None => PHOTO,
        })
    }

    fn size(&self) -> Choice {
        let side = self.side();
        let why = match (self.weights, self.survey.median) {
            (Some(weights), _) if weights.size.is_some() => "what the weights were trained on".into(),
            (Some(_), _) => "what such weights are usually trained on".into(),
            (None, Some([h, w])) if h.min(w) <= SMALL => format!("the median image is {w}x{h}"),
            (None, Some([h, w])) => format!("the median image is {w}x{h}; larger costs time"),
            (None, None) => "no image's size could be read".into(),
        };
        let value = format!("{side}x{side}");
        Choice { what: "images", value, why, keys: vec![format!("data.size={side}")] }
    }

    fn test(&self) -> Choice {
        let what = "test";
        if let Some(own) = self.survey.test {
            return Choice {
                what,
                value: counted(own, "image"),
                why: "the set's own".into(),
                keys: Vec::new(),
            };
        }
        let share = self.wishes.test.unwrap_or(TEST);
        let why = "held out, as the set has no test images of its own".into();
        Choice { what, value: percent(share), why, keys: vec![format!("data.test={share:?}")] }
    }

    fn validation(&self) -> Choice {
        let what = "validation";
        if let Some(own) = self.survey.validation {
            return Choice {
                what,
                value: counted(own, "image"),
                why: "the set's own".into(),
                keys: Vec::new(),
            };
        }
        match self.validation_share() {
            Some(share) => {
                let why = "held out to choose the best epoch; test images are used once".into();
                Choice { what, value: percent(share), why, keys: vec![format!("data.validation={share:?}")] }
            }
            None => {
                let why = "too few images: test images choose the best epoch".into();
                Choice { what, value: "none".into(), why, keys: Vec::new() }
            }
        }
    }

    fn batch_size(&self) -> usize {
        let tenth = (self.training() / 10).max(1);
        let power = 1 << tenth.ilog2();
        self.wishes.batch.unwrap_or(power.clamp(LEAST_BATCH, MOST_BATCH))
    }

    fn batch(&self) -> Choice {
        let batch = self.batch_size();
        let why = match batch {
            LEAST_BATCH => "few images, but BatchNorm wants some",
            MOST_BATCH => "the usual",
            _ => "at most a tenth of the training images",
        };
        Choice {
            what: "batch",
            value: batch.to_string(),
            why: why.into(),
            keys: vec![format!("train.batch={batch}")],
        }
    }

    fn epochs(&self) -> Choice {
        let training = self.training();
        let epochs = match (self.weights, training) {
            (Some(_), _) => TUNING_EPOCHS,
            (None, 0..1_000) => 40,
            (None, 1_000..5_000) => 30,
            (None, 5_000..20_000) => 20,
            (None, 20_000..100_000) => 15,
            (None, _) => 10,
        };
        let why = match self.weights {
            Some(_) => "fine-tuning".into(),
            None => counted(training, "training image"),
        };
        Choice {
            what: "epochs",
            value: epochs.to_string(),
            why,
            keys: vec![format!("train.epochs={epochs}")],
        }
    }

    /// The learning rate, in proportion to the batch down to a fifth.
    fn rate(&self) -> Choice {
        let (lr, why) = match self.weights {
            Some(_) => (TUNING, "fine-tuning; cosine per step".to_owned()),
            None => {
                let batch = self.batch_size();
                let lr = (0.1 * batch as f64 / MOST_BATCH as f64).clamp(0.02, 0.1);
                (lr, format!("for batch {batch}; cosine per step"))
            }
        };
        Choice { what: "lr", value: lr.to_string(), why, keys: vec![format!("train.lr={lr:?}")] }
    }

    /// What pixels are normalised with, where weights say it.
    fn statistics(&self) -> Option<Choice> {
        let weights = self.weights?;
        let why = "what the weights were trained with".into();
        Some(Choice { what: "pixels", value: weights.statistics(), why, keys: Vec::new() })
    }
}

fn counted(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

fn classes_of(n: usize) -> String {
    format!("{n} {}", if n == 1 { "class" } else { "classes" })
}

fn percent(share: f64) -> String {
    format!("{} %", (100.0 * share * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::weights::Weights;
    use super::*;
    use crate::recipe::{Family, Model};

    fn survey(classes: usize, each: usize, median: [usize; 2]) -> Survey {
        Survey {
            name: "photos".into(),
            format: "class folders",
            known: None,
            classes: (0..classes).map(|i| i.to_string()).collect(),
            per_class: vec![each; classes],
            test: None,
            validation: None,
            median: Some(median),
        }
    }

    fn keys(survey: &Survey, wishes: &Wishes) -> String {
        let (parts, choices) = Rules { survey, wishes, weights: None }.choose();
        let keys: Vec<String> = choices.into_iter().flat_map(|c| c.keys).collect();
        format!("{} {}", parts.join("+"), keys.join(" "))
    }

    #[test]
    fn few_photographs_get_a_small_network_and_small_steps() {
        let chosen = keys(&survey(10, 50, [224, 300]), &Wishes::default());
        let rest = chosen.strip_prefix("bp+resnet14+own model.backbone=resnet14 ").unwrap();
        // Where memory counts, or modules are asked for, it learns locally; of many images always.
        let local = keys(&survey(10, 50, [224, 300]), &Wishes { local: true, ..Wishes::default() });
        assert_eq!(local, format!("dgl+resnet14-4+own model.backbone=resnet14 local.modules=4 {rest}"));
        assert!(keys(&survey(10, 200, [224, 300]), &Wishes::default()).starts_with("dgl+resnet20-4+own "));
        let expected = "bp+resnet14+own model.backbone=resnet14 data.size=64 data.test=0.2 data.validation=0.1 \
                        train.batch=32 train.epochs=40 train.lr=0.025";
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_step_takes_a_tenth_of_the_training_images_at_most() {
        for (each, batch) in [(15, 4), (50, 4), (200, 16), (1_000, 128), (50_000, 128)] {
            let chosen = keys(&survey(2, each, [64, 64]), &Wishes::default());
            assert!(chosen.contains(&format!("train.batch={batch} ")), "{each}: {chosen}");
        }
        // Of fewer images than forty a step of four is more: BatchNorm needs them.
        let s = survey(2, 50, [64, 64]);
        assert!(Rules { survey: &s, wishes: &Wishes::default(), weights: None }.training() / 10 >= 4);
    }

    #[test]
    fn more_images_get_a_deeper_network_larger_ones_and_fewer_epochs() {
        let many = keys(&survey(10, 5_000, [375, 500]), &Wishes::default());
        assert!(
            many.contains("resnet32") && many.contains("data.size=96") && many.contains("epochs=15"),
            "{many}"
        );
        let classes = keys(&survey(200, 100, [32, 32]), &Wishes::default());
        assert!(classes.contains("model.width=32") && classes.contains("data.size=32"), "{classes}");
    }

    #[test]
    fn splits_of_the_set_are_used_and_few_images_are_not_cut_up() {
        let own = Survey { test: Some(9), validation: Some(9), ..survey(2, 90, [28, 28]) };
        let chosen = keys(&own, &Wishes::default());
        assert!(!chosen.contains("data.test") && !chosen.contains("data.validation"), "{chosen}");
        assert!(chosen.contains("data.size=28"), "{chosen}");
        let few = keys(&survey(3, 6, [28, 28]), &Wishes::default());
        assert!(few.contains("data.test=0.2") && !few.contains("data.validation"), "{few}");
    }

    #[test]
    fn what_the_user_says_is_followed() {
        let wishes = Wishes { size: Some(160), batch: Some(8), ..Wishes::default() };
        let chosen = keys(&survey(10, 50, [224, 300]), &wishes);
        assert!(chosen.contains("resnet18") && chosen.contains("train.lr=0.02"), "{chosen}");
    }

    #[test]
    fn weights_bring_their_network_and_images_of_their_size() {
        let backbone = "resnet50".to_owned().try_into().unwrap();
        let model = Model { backbone, family: Some(Family::Imagenet), ..Model::default() };
        let weights = Weights { from: "w.pth".into(), model, size: None, normalise: None };
        let (s, wishes) = (survey(5, 100, [600, 800]), Wishes::default());
        let (parts, choices) = Rules { survey: &s, wishes: &wishes, weights: Some(&weights) }.choose();
        assert_eq!(parts.join("+"), "bp+resnet50+own");
        let keys: Vec<String> = choices.iter().flat_map(|c| c.keys.clone()).collect();
        assert!(keys.contains(&"data.size=224".into()) && keys.contains(&"train.lr=0.01".into()), "{keys:?}");
        assert!(choices.iter().any(|c| c.value == "ImageNet's"), "{choices:?}");
    }
}
