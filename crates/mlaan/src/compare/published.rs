//! What the paper measured, looked up by the names of a recipe's parts.

use super::builtin;
use super::suite::Measure;
use super::suite::Suite;
use std::path::Path;

/// A number of the paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Test error, percent.
    pub error: f64,
    /// Where it stands and how it was measured.
    pub source: String,
    /// The built-in suite that repeats its table.
    pub suite: String,
}

/// What the paper measured with `method` on `network` (as `resnet32-16`; for backpropagation the backbone) on `data`, as
/// the built-in suites have it. None where the paper has no such cell.
pub fn published(method: &str, network: &str, data: &str) -> Option<Published> {
    let network = network.strip_prefix("authors-").unwrap_or(network);
    let (backbone, modules) = match network.split_once('-') {
        Some((backbone, modules)) => (backbone, modules.parse::<usize>().ok()),
        None => (network, None),
    };
    builtin::builtin().iter().find_map(|(name, text)| {
        let suite = Suite::parse(text, name, name, Path::new("")).ok()?;
        if suite.measure != Measure::Error {
            return None;
        }
        // A row with settings of its own is another experiment.
        let row = suite.rows.iter().find(|r| r.name == method && r.set.is_empty())?;
        let column = suite.columns.iter().position(|c| {
            let same = c.network.as_deref() == Some(backbone) && (method == "bp" || c.modules == modules);
            same && suite.set_of(c).ok().flatten().is_some_and(|s| s.name == data)
        })?;
        let error = row.paper.get(column).copied().filter(|e| e.is_finite())?;
        Some(Published { error, source: suite.source.clone(), suite: (*name).to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_the_papers_tables_are_found_by_name() {
        let error = |method, network, data| published(method, network, data).map(|p| p.error);
        for (method, network, data, expected) in [
            ("bp", "resnet110", "cifar10", 5.42),
            ("dgl", "resnet32-8", "cifar10", 11.63),
            ("dgl-star", "resnet110-32", "svhn", 2.78),
            ("infopro-star", "resnet110-55", "stl10", 19.24),
            ("mlaan-released", "resnet32-16", "cifar10", 6.51),
            ("mlaan-released", "authors-resnet32-16", "cifar10", 6.51),
            ("mlaan-paper", "resnet152-51", "imagenet", 21.34),
            ("mlm", "resnet32-16", "cifar10", 8.46),
            ("lam", "resnet32-16", "cifar10", 7.64),
        ] {
            assert_eq!(error(method, network, data), Some(expected), "{method} {network} {data}");
        }
        for (method, network, data) in [
            ("mlm", "resnet32-16", "svhn"),
            ("dgl", "resnet32-7", "cifar10"),
            ("dgl", "resnet32-16", "imagenet"),
            ("infopro-imagenet", "resnet34-17", "imagenet"),
            ("dgl", "resnet20-10", "cifar10"),
        ] {
            assert_eq!(error(method, network, data), None, "{method} {network} {data}");
        }
        assert!(
            published("dgl", "resnet32-16", "cifar10").is_some_and(|p| p.source.contains("arXiv 2406.16633"))
        );
    }
}
