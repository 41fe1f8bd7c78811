//! What is built in: the files of the `recipes` folder, and names that are made by rule.
//!
//! A paper's table has a hundred cells, each a method on a network on a data set. So the files hold these parts, and a
//! cell is their names joined: `mlaan-released+resnet110-55+stl10`, or, on the network's usual data set,
//! `mlaan-released-resnet110-55`.

use super::model::{Backbone, Family};
use super::words;

/// What a built-in name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// How a network is cut and trained, but not into how many modules.
    Method,
    /// A backbone and how many modules it is cut into.
    Network,
    /// A data set, how its images are prepared, and the optimiser that the paper uses on it.
    Data,
    /// All of it.
    Recipe,
}

/// A file of the `recipes` folder.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// What recipes and the command line call it.
    pub name: &'static str,
    /// What it stands for.
    pub part: Part,
    /// The file.
    pub text: &'static str,
}

macro_rules! files {
    ($($part:ident $folder:literal: $($name:literal)*;)*) => {
        &[$($(Builtin {
            name: $name,
            part: Part::$part,
            text: include_str!(concat!("../../../../recipes/", $folder, $name, ".toml")),
        }),*),*]
    };
}

const FILES: &[Builtin] = files! {
    Recipe "": "demo" "quickstart";
    Method "methods/": "bp" "dgl" "infopro" "infopro-imagenet" "mlm" "lam" "mlaan-paper" "mlaan-released" "dgl-star" "infopro-star";
    Network "authors/": "authors-resnet32-8" "authors-resnet32-16" "authors-resnet110-32" "authors-resnet110-55"
        "authors-resnet34-17" "authors-resnet101-34" "authors-resnet152-51";
    Data "data/": "cifar10" "svhn" "stl10" "imagenet" "own";
};

/// The networks of the paper's tables, as [`network`] names them.
pub const NETWORKS: &[&str] = &[
    "resnet32-8",
    "resnet32-16",
    "resnet110-32",
    "resnet110-55",
    "resnet34-17",
    "resnet101-34",
    "resnet152-51",
];

/// Every file that is built in.
pub fn builtin() -> &'static [Builtin] {
    FILES
}

/// Names of whole recipes, for lists and hints: the files that are one, and every method on the paper's networks (on
/// networks of any depth and number of modules the names work as well).
pub fn recipes() -> Vec<String> {
    let whole = FILES.iter().filter(|f| f.part == Part::Recipe).map(|f| f.name.to_owned());
    let methods = FILES.iter().filter(|f| f.part == Part::Method);
    let cells = methods.flat_map(|m| {
        let mut networks: Vec<&str> = match m.name {
            "bp" => NETWORKS.iter().filter_map(|n| n.split('-').next()).collect(),
            _ => NETWORKS.to_vec(),
        };
        networks.dedup();
        networks.into_iter().map(|n| format!("{}-{n}", m.name))
    });
    whole.chain(cells).collect()
}

/// The file of this name.
pub(super) fn file(name: &str) -> Option<&'static Builtin> {
    FILES.iter().find(|f| f.name == name)
}

/// The text that `resnetD` (a backbone) or `resnetD-K` (cut into K modules) stands for, if it is such a name.
///
/// Cuts and sources are of the network that they were written for, so it drops those of a recipe below.
pub fn network(name: &str) -> Option<String> {
    let (backbone, modules) = match name.split_once('-') {
        Some((backbone, modules)) => (backbone, Some(number(modules)?)),
        None => (name, None),
    };
    let depth = number(backbone.strip_prefix("resnet")?)?;
    let about =
        "# A network by rule: resnetD is a backbone of depth D, resnetD-K the same cut into K modules.\n\n";
    let model = format!("[model]\nbackbone = \"{backbone}\"\nfamily = \"none\"\nwidth = \"none\"\n");
    let sources = "leap.sources = \"none\"\n";
    let words = words::network(usize::try_from(depth).ok()?, modules.and_then(|n| usize::try_from(n).ok()));
    let local = match modules {
        None => String::new(),
        Some(modules) => format!("modules = {modules}\nstem_alone = \"none\"\n"),
    };
    Some(format!("{about}description = \"{words}\"\n\n{model}\n[local]\n{local}cuts = \"none\"\n{sources}"))
}

/// The data set that a network is usually trained on.
pub(super) fn usual_data(network: &str) -> &'static str {
    let backbone = network.split('-').find(|n| n.starts_with("resnet")).unwrap_or_default();
    let family = Backbone::try_from(backbone.to_owned())
        .map(|backbone| super::Model { backbone, ..super::Model::default() }.family());
    if family == Ok(Family::Imagenet) { "imagenet" } else { "cifar10" }
}

/// `METHOD-NETWORK` taken apart.
pub(super) fn cell(name: &str) -> Option<(&'static Builtin, &str)> {
    let methods = FILES.iter().filter(|f| f.part == Part::Method);
    methods.filter_map(|m| Some((m, name.strip_prefix(m.name)?.strip_prefix('-')?))).find(|(_, network)| {
        super::builtin::network(network).is_some() || file(network).is_some_and(|f| f.part == Part::Network)
    })
}

/// Digits without a leading zero.
fn number(digits: &str) -> Option<u32> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let cells = [
            ("bp-resnet32", "bp", "resnet32"),
            ("mlaan-paper-resnet110-55", "mlaan-paper", "resnet110-55"),
            ("infopro-star-resnet32-8", "infopro-star", "resnet32-8"),
            ("infopro-resnet44-8", "infopro", "resnet44-8"),
            ("dgl-authors-resnet32-16", "dgl", "authors-resnet32-16"),
        ];
        for (name, method, network) in cells {
            let (m, n) = cell(name).unwrap();
            assert_eq!((m.name, n), (method, network), "{name}");
        }
        for name in
            ["dgl", "dgl-", "dgl-cifar10", "resnet32-16", "dgl-resnet", "dgl-resnet32-", "dgl-resnet32-x"]
        {
            assert!(cell(name).is_none(), "{name}");
        }
        for name in ["resnet", "resnet-3", "resnet032", "resnet32-0", "resnet32-1x", "vgg11", ""] {
            assert!(network(name).is_none(), "{name}");
        }
        assert_eq!(usual_data("resnet32-16"), "cifar10");
        assert_eq!(usual_data("resnet101-34"), "imagenet");
        assert_eq!(usual_data("authors-resnet34-17"), "imagenet");
    }
}
