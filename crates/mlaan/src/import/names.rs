//! What network a state dict is of, told by names and sizes.

use super::StateDict;
use super::beside::is_classifier;
use super::layout::{BATCHES, STEM, is_behind};
use super::listed::listed;
use crate::recipe::{Backbone, Family, Model};
use crate::{Error, Result};

/// The projection of a shortcut.
const DOWNSAMPLE: &str = ".downsample.";
/// Most channels of the first stage, as for `model.width`.
const MAX_WIDTH: usize = 65_536;
/// Blocks per stage of the ImageNet family: depth, whether of bottlenecks, blocks.
const IMAGENET: [(usize, bool, [usize; 4]); 5] = [
    (18, false, [2, 2, 2, 2]),
    (34, false, [3, 4, 6, 3]),
    (50, true, [3, 4, 6, 3]),
    (101, true, [3, 4, 23, 3]),
    (152, true, [3, 8, 36, 3]),
];

/// Brings names into torchvision's form: without what wrappers put in front (`module.`, `model.`, `backbone.` …), the
/// shortcut called `downsample`, the classifier `fc`, no counters.
pub(crate) fn normalise(dict: &mut StateDict) {
    dict.rename(|inner| {
        if inner.ends_with(BATCHES) {
            return None;
        }
        let inner = inner.replace(".shortcut.", DOWNSAMPLE);
        Some(match inner.strip_prefix("linear.") {
            Some(leaf) => format!("fc.{leaf}"),
            None => inner,
        })
    });
    if let Some(classifier) = classifier(dict) {
        dict.take_classifier(&classifier);
    }
}

/// The linear layer that is the classifier under another name than `fc`, as `head.fc`, `classifier.1`: it alone is there
/// beside what is in front of it.
fn classifier(dict: &StateDict) -> Option<String> {
    let behind = dict.tensors().filter(|(name, _)| is_behind(name));
    let strange = dict.strange.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()));
    let mut found: Vec<(&str, &[usize])> = behind.chain(strange).collect();
    found.sort_unstable();
    let [(bias, [outputs]), (weight, [rows, columns])] = found.as_slice() else { return None };
    let name = weight.strip_suffix(".weight")?;
    let fits = outputs == rows && Some(*columns) == features(dict) && bias.strip_suffix(".bias")? == name;
    (fits && name != "fc" && is_classifier(name)).then(|| name.to_owned())
}

/// Channels behind the last block.
fn features(dict: &StateDict) -> Option<usize> {
    let stages = (1..).take_while(|stage| blocks(dict, *stage) > 0).count();
    let last = format!("layer{stages}.{}", blocks(dict, stages).checked_sub(1)?);
    let of = |conv: &str| dict.shape(&format!("{last}.{conv}.weight"))?.first().copied();
    of("conv3").or_else(|| of("conv2"))
}

/// The network, if it is one that is known.
///
/// # Errors
/// What was found instead.
pub(crate) fn model(dict: &StateDict, path: &std::path::Path) -> Result<Model> {
    let wrong = |message: String| {
        let advice = "a recipe or --backbone can name the network, and what does not fit is then listed";
        Err(Error::data(path.display().to_string(), format!("{message}; {advice}")))
    };
    let Some([width, 3, kernel, _]) = dict.shape(STEM) else {
        let names: Vec<String> = dict.tensors().map(|(name, _)| name.to_owned()).collect();
        let there = listed("tensors", &names);
        return wrong(format!(
            "no ResNet under torchvision's names: no `{STEM}` for 3 channels, but {there}"
        ));
    };
    let (width, kernel) = (*width, *kernel);
    if width > MAX_WIDTH {
        return wrong(format!("a first stage of {width} channels; up to {MAX_WIDTH} are read"));
    }
    let stages: Vec<usize> = (1..).map(|s| blocks(dict, s)).take_while(|n| *n > 0).collect();
    let bottleneck = dict.shape("layer1.0.conv3.weight").is_some();
    let imagenet = IMAGENET.iter().find(|(_, b, depths)| *b == bottleneck && depths[..] == stages[..]);
    let (family, depth) = match (kernel, stages.as_slice(), imagenet) {
        (3, [a, b, c], _) if a == b && b == c && !bottleneck => (Family::Cifar, 6 * a + 2),
        (7, _, Some((depth, ..))) => (Family::Imagenet, *depth),
        _ => {
            let kind = if bottleneck { "bottleneck" } else { "basic" };
            return wrong(format!(
                "stages of {stages:?} {kind} blocks behind a {kernel}x{kernel} convolution: known are the CIFAR family (3x3, \
                 three equal stages of basic blocks) and the ImageNet family (7x7, ResNet-18, 34, 50, 101, 152)"
            ));
        }
    };
    let backbone =
        Backbone::try_from(format!("resnet{depth}")).map_err(|e| Error::recipe("model.backbone", e))?;
    Ok(Model { backbone, family: Some(family), width: Some(width), init: None, init_key: None })
}

/// Why a network whose shortcuts have no parameters does not fit, where that is what is `missing`.
pub(super) fn without_projections(dict: &StateDict, missing: &[String]) -> Option<String> {
    let projection = |name: &str| name.contains(DOWNSAMPLE);
    let first = missing.first().filter(|_| missing.iter().all(|name| projection(name)))?;
    if dict.tensors().any(|(name, _)| projection(name)) {
        return None;
    }
    Some(format!(
        "its shortcuts have no parameters (`{first}` and {} more are missing): it pads them with zeros where the shape changes, \
         option A of He et al. 2016, as many CIFAR ResNets do. The networks here project them by 1x1 convolutions (option B), so \
         these weights cannot be used; take some of a network with option B, or train it here",
        missing.len() - 1
    ))
}

/// Blocks of stage `stage`, from 1.
fn blocks(dict: &StateDict, stage: usize) -> usize {
    (0..).take_while(|i| dict.shape(&format!("layer{stage}.{i}.conv1.weight")).is_some()).count()
}
