//! Which classes are taken for which.

use crate::text::csv;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Images of one class that are taken for one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u64)", into = "(u32, u32, u64)")]
pub struct Pair {
    /// Their class.
    pub class: u32,
    /// What they are taken for.
    pub predicted: u32,
    /// Their number, never 0.
    pub images: u64,
}

impl From<(u32, u32, u64)> for Pair {
    fn from((class, predicted, images): (u32, u32, u64)) -> Self {
        Pair { class, predicted, images }
    }
}

impl From<Pair> for (u32, u32, u64) {
    fn from(p: Pair) -> Self {
        (p.class, p.predicted, p.images)
    }
}

/// A confusion matrix without its zeros: of many classes few are taken for each other. As JSON a list of
/// `[class, predicted, images]`, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    pairs: Vec<Pair>,
}

impl Confusion {
    /// Counts the guesses, each the class of an image and what it was taken for; `None` for none.
    pub fn count(mut guesses: Vec<(u32, Option<u32>)>) -> Self {
        guesses.sort_unstable();
        let mut pairs: Vec<Pair> = Vec::new();
        for (class, predicted) in guesses {
            let Some(predicted) = predicted else { continue };
            match pairs.last_mut() {
                Some(p) if (p.class, p.predicted) == (class, predicted) => p.images += 1,
                _ => pairs.push(Pair { class, predicted, images: 1 }),
            }
        }
        Confusion { pairs }
    }

    /// All of these, counted together.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Confusion>) -> Self {
        let mut counts: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for p in all.into_iter().flat_map(|confusion| &confusion.pairs) {
            let sum = counts.entry((p.class, p.predicted)).or_default();
            // What a file says may be anything.
            *sum = sum.saturating_add(p.images);
        }
        let pair = |((class, predicted), images)| Pair { class, predicted, images };
        Confusion { pairs: counts.into_iter().map(pair).collect() }
    }

    /// All that are not zero, by class and by what it is taken for.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Those of one class.
    pub fn row(&self, class: usize) -> &[Pair] {
        let begin = self.pairs.partition_point(|p| (p.class as usize) < class);
        let end = self.pairs.partition_point(|p| p.class as usize <= class);
        &self.pairs[begin..end]
    }

    /// The row of one class of `classes`, zeros included.
    pub fn dense_row(&self, class: usize, classes: usize) -> Vec<u64> {
        let mut row = vec![0; classes];
        for pair in self.row(class) {
            if let Some(n) = row.get_mut(pair.predicted as usize) {
                *n = pair.images;
            }
        }
        row
    }

    /// Pairs of two classes, those with most images first.
    pub fn confused(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self.pairs.iter().copied().filter(|p| p.class != p.predicted).collect();
        pairs.sort_by_key(|p| std::cmp::Reverse(p.images));
        pairs
    }

    /// Whether it is one of `classes` classes: what a file holds may be anything.
    pub(super) fn is_of(&self, classes: usize) -> bool {
        let inside = |p: &Pair| (p.class.max(p.predicted) as usize) < classes && p.images > 0;
        let ascends = |w: &[Pair]| (w[0].class, w[0].predicted) < (w[1].class, w[1].predicted);
        self.pairs.iter().all(inside) && self.pairs.windows(2).all(ascends)
    }

    /// The matrix as CSV, a row per class and a column per class that it is taken for, each with its name; `images` are
    /// those of every class. Where some are taken for no class, these are in a last column.
    ///
    /// # Errors
    /// [`Error::Io`] of `path`, which is written through `out`.
    pub fn write_csv(
        &self,
        (names, images): (&[String], &[usize]),
        path: &Path,
        out: &mut dyn Write,
    ) -> Result<()> {
        let names: Vec<String> = names.iter().map(|name| csv::text(name)).collect();
        let rest = |class: usize| {
            let taken: u64 = self.row(class).iter().map(|p| p.images).sum();
            (images.get(class).copied().unwrap_or(0) as u64).saturating_sub(taken)
        };
        let some_rest = (0..names.len()).any(|class| rest(class) > 0);
        let last = |cell: String| some_rest.then_some(cell);
        let mut write = |cells: Vec<String>| writeln!(out, "{}", csv::record(cells)).map_err(Error::io(path));
        let head = ["class \\ predicted".to_owned()].into_iter().chain(names.iter().cloned());
        write(head.chain(last("no number".into())).collect())?;
        for (class, name) in names.iter().enumerate() {
            let counts = self.dense_row(class, names.len()).into_iter().map(|n| n.to_string());
            let row = [name.clone()].into_iter().chain(counts);
            write(row.chain(last(rest(class).to_string())).collect())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Confusion {
        Confusion::count(vec![
            (2, Some(0)),
            (0, Some(0)),
            (0, None),
            (2, Some(2)),
            (2, Some(0)),
            (1, Some(0)),
        ])
    }

    #[test]
    fn pairs_are_counted_in_order() {
        let found = some();
        let as_json = serde_json::to_string(&found).unwrap();
        assert_eq!(as_json, "[[0,0,1],[1,0,1],[2,0,2],[2,2,1]]");
        assert_eq!(serde_json::from_str::<Confusion>(&as_json).unwrap(), found);
        assert_eq!((found.dense_row(2, 3), found.dense_row(1, 3)), (vec![2, 0, 1], vec![1, 0, 0]));
        assert!(found.row(3).is_empty());
        let confused = found.confused();
        assert_eq!((confused.len(), confused[0]), (2, Pair { class: 2, predicted: 0, images: 2 }));
        assert_eq!(Confusion::count(Vec::new()), Confusion::default());
    }

    #[test]
    fn what_no_matrix_holds_is_told() {
        let is_of = |json: &str| serde_json::from_str::<Confusion>(json).unwrap().is_of(3);
        assert!(some().is_of(3) && !some().is_of(2) && is_of("[]"));
        for json in ["[[0,3,1]]", "[[0,0,0]]", "[[1,0,1],[0,0,1]]", "[[0,0,1],[0,0,1]]"] {
            assert!(!is_of(json), "{json}");
        }
    }

    #[test]
    fn a_matrix_is_csv_with_names_that_no_spreadsheet_computes() {
        let csv = |images: &[usize]| {
            let mut out = Vec::new();
            let names = ["=a,b", "c", "d"].map(String::from);
            some().write_csv((&names, images), Path::new("x.csv"), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(csv(&[1, 1, 3]), "class \\ predicted,\"'=a,b\",c,d\n\"'=a,b\",1,0,0\nc,1,0,0\nd,2,0,1\n");
        assert_eq!(
            csv(&[2, 1, 3]),
            "class \\ predicted,\"'=a,b\",c,d,no number\n\"'=a,b\",1,0,0,1\nc,1,0,0,0\nd,2,0,1,0\n"
        );
    }
}
