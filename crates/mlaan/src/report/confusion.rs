//! Confusion matrices, of one network or of one per seed.

use super::html::{figure, table};
use crate::Result;
use crate::compare::Sheet;
use crate::evaluation::{Confusion, Evaluation, Pair};
use crate::plot::Heat;
use crate::text::line;
use maud::Markup;

/// Classes of a matrix that is a table, at most; of more the pairs that are confused most stand there.
const TABLE: usize = 30;
/// Such pairs, at most.
const PAIRS: usize = 100;
/// Characters of a class's name beside a matrix.
const NAME: usize = 18;

/// Classes, and which were taken for which.
pub struct Matrix {
    names: Vec<String>,
    /// Test images of each class, over all networks.
    images: Vec<usize>,
    confusion: Confusion,
    /// Networks whose guesses were counted.
    networks: usize,
}

impl Matrix {
    /// The guesses of all these networks, counted together; those of other classes than the first's are left out.
    pub fn of(all: &[&Evaluation]) -> Self {
        let (names, mut images) = all.first().map(|found| found.names()).unwrap_or_default();
        let alike: Vec<&Evaluation> = all.iter().copied().filter(|found| found.names().0 == names).collect();
        for found in alike.iter().skip(1) {
            images.iter_mut().zip(&found.classes).for_each(|(sum, c)| *sum += c.images);
        }
        let confusion = Confusion::sum(alike.iter().map(|found| &found.confusion));
        Matrix { names, images, confusion, networks: alike.len() }
    }

    /// A picture up to so many classes, of more the pairs that are confused most; nothing of one class.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn drawn(&self, name: &str, most: usize) -> Result<Option<Markup>> {
        let n = self.names.len();
        if n < 2 {
            return Ok(None);
        }
        let title = format!("Confusion, {name}");
        let numbers = if n <= TABLE { self.table(&title) } else { self.pairs(&title) };
        if n > most {
            return Ok(Some(table(&numbers)));
        }
        let shares = |class: usize| {
            let images = self.images[class].max(1) as f64;
            let row = self.confusion.dense_row(class, n);
            row.into_iter().map(|k| Some(k as f64 / images)).collect()
        };
        let short = |class: usize| {
            let name = line(&self.names[class]);
            let cut: String = name.chars().take(NAME).collect();
            format!("{cut}{}", if name.chars().count() > NAME { "…" } else { "" })
        };
        let heat = Heat {
            title,
            x: "predicted class".into(),
            y: "class".into(),
            columns: (0..n).map(short).collect(),
            // The picture's rows go up.
            rows: (0..n).rev().map(short).collect(),
            values: (0..n).rev().map(shares).collect(),
        };
        let over =
            if self.networks > 1 { format!(", mean over {} seeds", self.networks) } else { String::new() };
        let about = format!(
            "A row per class: the fraction of its images that was predicted as each class, the right one on the diagonal{over}."
        );
        Ok(Some(figure(heat.svg()?, &about, &numbers)))
    }

    /// What the numbers count.
    fn counted(&self) -> String {
        if self.networks > 1 { format!("images, sum over {} seeds", self.networks) } else { "images".into() }
    }

    fn table(&self, title: &str) -> Sheet {
        let n = self.names.len();
        let row = |(class, name): (usize, &String)| {
            let counts = self.confusion.dense_row(class, n).into_iter().map(|n| n.to_string());
            [format!("{class} {name}")].into_iter().chain(counts).collect()
        };
        Sheet {
            title: format!("{title} ({})", self.counted()),
            header: ["class".to_owned()].into_iter().chain((0..n).map(|class| format!(">{class}"))).collect(),
            rows: self.names.iter().enumerate().map(row).collect(),
        }
    }

    fn pairs(&self, title: &str) -> Sheet {
        let name = |class: u32| self.names.get(class as usize).cloned().unwrap_or_default();
        let row = |p: &Pair| vec![name(p.class), name(p.predicted), p.images.to_string()];
        Sheet {
            title: format!("{title}: the pairs with most images ({})", self.counted()),
            header: ["class", "predicted", ">images"].map(String::from).into(),
            rows: self.confusion.confused().iter().take(PAIRS).map(row).collect(),
        }
    }
}
