//! Where the network is cut (METHOD §1).

use super::Method;
use crate::backbone::Backbone;
use crate::{Error, Result};
use std::ops::Range;

/// The blocks of every module; module 0 also holds the stem, the last one the classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    modules: Vec<Range<usize>>,
}

impl Partition {
    /// Cuts a backbone as the method says.
    ///
    /// # Errors
    /// More modules than blocks allow; cuts that are not ascending or leave the network.
    pub fn new(method: &Method, backbone: &dyn Backbone) -> Result<Self> {
        let blocks = backbone.blocks().len();
        if method.balance && method.cuts.is_none() && method.modules > 1 {
            let message = "cuts that balance memory are to be chosen first: `mlaan::plan::balanced` does it";
            return Err(Error::recipe("local.balance", message));
        }
        let cuts = match &method.cuts {
            Some(cuts) => cuts.clone(),
            None => even(method, blocks, &backbone.name())?,
        };
        let mut modules = Vec::with_capacity(cuts.len() + 1);
        let mut start = None;
        for &cut in &cuts {
            if cut > blocks || start.is_some_and(|s| cut <= s) || cut == blocks {
                let message = format!(
                    "cuts {cuts:?}: each is the number of blocks below it, ascending, from 0 (after the stem) to {} \
                     ({} has {blocks} blocks)",
                    blocks.saturating_sub(1),
                    backbone.name()
                );
                return Err(Error::recipe("local.cuts", message));
            }
            modules.push(start.unwrap_or(0)..cut);
            start = Some(cut);
        }
        modules.push(start.unwrap_or(0)..blocks);
        Ok(Partition { modules })
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// There is always a module.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The blocks of module `j`.
    pub fn blocks(&self, j: usize) -> Range<usize> {
        self.modules[j].clone()
    }

    /// The module that holds block `b`.
    pub fn module_of(&self, b: usize) -> Option<usize> {
        self.modules.iter().position(|m| m.contains(&b))
    }
}

fn even(method: &Method, blocks: usize, name: &str) -> Result<Vec<usize>> {
    let modules = method.modules;
    let (least, most, stem) = match method.stem_alone {
        Some(true) => (2, blocks + 1, " with the stem as a module of its own"),
        Some(false) => (1, blocks, " with the stem in the first"),
        None => (1, blocks + 1, ""),
    };
    if modules < least || modules > most {
        let message = format!(
            "{modules} modules; {name} has {blocks} blocks, which make {least} to {most} modules{stem}"
        );
        return Err(Error::recipe("local.modules", message));
    }
    let alone = method.stem_alone.unwrap_or(modules == blocks + 1);
    Ok(if alone {
        (0..modules - 1).map(|i| i * blocks / (modules - 1)).collect()
    } else {
        (1..modules).map(|i| i * blocks / modules).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::ResNet;

    fn cut(method: Method) -> Result<Vec<Range<usize>>> {
        Ok(Partition::new(&method, &ResNet::cifar(32, 16)?)?.modules)
    }

    #[test]
    fn the_papers_counts() {
        let modules = |modules| Method { modules, ..Method::default() };
        assert_eq!(cut(modules(1)).unwrap(), vec![0..15; 1]);
        let sixteen = cut(modules(16)).unwrap();
        assert_eq!((sixteen.len(), sixteen[0].clone(), sixteen[1].clone()), (16, 0..0, 0..1));
        let eight = cut(modules(8)).unwrap();
        assert_eq!(eight.len(), 8);
        assert!(eight.iter().all(|m| m.len() == 1 || m.len() == 2));
        let alone = Method { modules: 4, stem_alone: Some(true), ..Method::default() };
        assert_eq!(cut(alone).unwrap(), [0..0, 0..5, 5..10, 10..15]);
        let explicit = Method { cuts: Some(vec![0, 3, 14]), ..Method::default() };
        assert_eq!(cut(explicit).unwrap(), [0..0, 0..3, 3..14, 14..15]);
    }

    #[test]
    fn impossible_cuts_say_what_is_possible() {
        for (stem_alone, possible) in [(None, "1 to 16"), (Some(true), "2 to 16"), (Some(false), "1 to 15")] {
            let err = cut(Method { modules: 17, stem_alone, ..Method::default() }).unwrap_err().to_string();
            assert!(err.contains("local.modules") && err.contains(possible), "{err}");
        }
        for cuts in [vec![15], vec![3, 3], vec![4, 2], vec![99]] {
            let err = cut(Method { cuts: Some(cuts), ..Method::default() }).unwrap_err().to_string();
            assert!(err.contains("local.cuts") && err.contains("0 (after the stem) to 14"), "{err}");
        }
    }
}
