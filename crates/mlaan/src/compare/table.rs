//! A suite's table, with a recipe for every cell.

use super::cell::{Cell, cell, named};
use super::sets::KnownSet;
use super::suite::{Column, Measure, Row, Suite};
use crate::data::BUILTIN;
use crate::text::nearest;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A row or a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// As in names of cells.
    pub name: String,
    /// For people.
    pub title: String,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The suite's name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where it comes from.
    pub source: String,
    /// What the paper's numbers count.
    pub measure: Measure,
    /// Seeds unless the user says otherwise.
    pub seeds: u64,
    /// The row that others are compared with.
    pub against: Option<usize>,
    /// Methods.
    pub rows: Vec<Heading>,
    /// Networks.
    pub columns: Vec<Heading>,
    /// Row by row.
    pub cells: Vec<Cell>,
    /// Keys that the user changed in all of them.
    pub changes: Vec<String>,
}

impl Suite {
    /// The cells, with `changes` (keys as `--set` takes them) stronger than all that the suite says.
    ///
    /// # Errors
    /// What is wrong with a recipe or a key, naming the cell.
    pub fn table(&self, changes: &[String]) -> Result<Table> {
        self.check().map_err(|message| Error::no_recipe(&self.name, message))?;
        Table::new(self, changes)
    }
}

impl Table {
    /// See [`Suite::table`].
    pub(super) fn new(suite: &Suite, changes: &[String]) -> Result<Self> {
        let mut cells: Vec<Cell> = Vec::new();
        for (i, row) in suite.rows.iter().enumerate() {
            for (j, column) in suite.columns.iter().enumerate() {
                let base = suite.recipe(row, column)?;
                let cell = cell(suite, (row, &base), column, changes)?;
                let paper = row.paper.get(j).copied().filter(|p| p.is_finite());
                add(&mut cells, Cell { row: i, columns: vec![j], paper, ..cell })?;
            }
        }
        let columns = suite.columns.iter().map(|c| Ok((c, suite.set_of(c)?))).collect::<Result<Vec<_>>>()?;
        let several = suite.has_several_sets()?;
        let column = |(c, set): &(&Column, Option<&KnownSet>)| {
            let set = set.filter(|_| several);
            Heading { name: named(c.suffix(c.modules), set), title: c.title(c.modules, set) }
        };
        let row = |r: &Row| Heading {
            name: r.name.clone(),
            title: r.title.clone().unwrap_or_else(|| r.name.clone()),
        };
        let mut table = Table {
            name: suite.name.clone(),
            title: suite.title.clone(),
            source: suite.source.clone(),
            measure: suite.measure,
            seeds: suite.seeds,
            against: None,
            rows: suite.rows.iter().map(row).collect(),
            columns: columns.iter().map(column).collect(),
            cells,
            changes: changes.to_vec(),
        };
        table.against = match &suite.against {
            Some(name) => Some(table.row(name)?),
            None => table.row("bp").ok().or_else(|| table.cells.iter().find(|c| c.is_plain()).map(|c| c.row)),
        };
        Ok(table)
    }

    /// The row of this name, or the only one that begins with it.
    ///
    /// # Errors
    /// [`Error::Data`] with the names that there are.
    pub fn row(&self, name: &str) -> Result<usize> {
        let names = || self.rows.iter().map(|r| r.name.as_str());
        let begins: Vec<usize> =
            names().enumerate().filter(|(_, n)| n.starts_with(&format!("{name}-"))).map(|(i, _)| i).collect();
        match (names().position(|n| n == name), begins.as_slice()) {
            (Some(i), _) | (None, &[i]) => Ok(i),
            _ => {
                let there: Vec<&str> = names().collect();
                Err(Error::no_recipe(name, format!("no row of this name; there are {}", there.join(", "))))
            }
        }
    }

    /// Leaves only the rows, columns and cells of these names.
    ///
    /// # Errors
    /// A name that nothing has.
    pub fn keep(&mut self, names: &[String]) -> Result<()> {
        let called = |c: &Cell, name: &str| {
            c.name == name
                || self.rows.get(c.row).is_some_and(|r| r.name == name)
                || c.columns.iter().any(|&j| self.columns.get(j).is_some_and(|h| h.name == name))
        };
        for name in names {
            if !self.cells.iter().any(|c| called(c, name)) {
                let [rows, columns] = [&self.rows, &self.columns]
                    .map(|of| of.iter().map(|h| h.name.as_str()).collect::<Vec<_>>());
                let cells = self.cells.iter().map(|c| c.name.as_str());
                let all = rows.iter().chain(&columns).copied().chain(cells);
                let meant = nearest(name, all, 1)
                    .first()
                    .map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
                let message = format!(
                    "no such row, column or cell{meant} Rows are {}; columns are {}",
                    rows.join(", "),
                    columns.join(", ")
                );
                return Err(Error::no_recipe(name, message));
            }
        }
        let kept: Vec<Cell> =
            self.cells.iter().filter(|c| names.iter().any(|n| called(c, n))).cloned().collect();
        self.cells = kept;
        Ok(())
    }

    /// Says where the images are: one place for all, or `NAME=PATH` per data set. The built-in images stand in for any
    /// set; where a suite names one, that counts as a change of its conditions.
    ///
    /// # Errors
    /// A set that no cell wants; one place where several sets are wanted.
    pub fn find_data(&mut self, places: &[String]) -> Result<()> {
        for place in places {
            let named = match place.split_once('=') {
                // A folder may have such a name, too.
                Some((name, path)) if !Path::new(place).exists() => Some((KnownSet::find(name)?, path)),
                _ => None,
            };
            let wanted = self.wanted();
            match named {
                Some((set, path)) => {
                    if !wanted.contains(&set.name) {
                        let message = format!("no cell wants this set; wanted: {}", wanted.join(", "));
                        return Err(Error::data(set.name, message));
                    }
                    let cells = self.cells.iter_mut().filter(|c| c.set == Some(set));
                    cells.for_each(|c| c.source = Some(path.to_owned()));
                }
                None if wanted.len() > 1 && place != BUILTIN => {
                    let message = format!(
                        "several sets are wanted: say which this is, as `--data {}={place}`",
                        wanted[0]
                    );
                    return Err(Error::data(place.as_str(), message));
                }
                None => {
                    self.cells.iter_mut().for_each(|c| c.source = Some(place.clone()));
                    if place == BUILTIN && !wanted.is_empty() {
                        self.cells.iter_mut().for_each(|c| c.set = None);
                        self.changes.push(format!("data.source={BUILTIN}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Names of the sets that cells want, each once.
    fn wanted(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.cells.iter().filter_map(|c| c.set.map(|s| s.name)).collect();
        names.dedup();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Adds a cell, or its column to the same one.
fn add(cells: &mut Vec<Cell>, new: Cell) -> Result<()> {
    let Some(same) = cells.iter_mut().find(|c| c.name == new.name) else {
        cells.push(new);
        return Ok(());
    };
    if same.recipe != new.recipe || same.set != new.set {
        let message = "two cells of different experiments have this name; give rows or columns other names";
        return Err(Error::no_recipe(&new.name, message));
    }
    if same.paper.is_some() && new.paper.is_some() && same.paper != new.paper {
        let message = "the same experiment has two numbers of the paper; write one of them as nan";
        return Err(Error::no_recipe(&new.name, message));
    }
    same.columns.extend(new.columns);
    same.paper = same.paper.or(new.paper);
    Ok(())
}
