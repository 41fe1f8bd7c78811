//! The labels of a split: numbers, or the names of the classes themselves.

use std::collections::{HashMap, HashSet};

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;

use super::super::class_names::class;
use super::values::read;

/// The labels of rows; none where a row has no label.
pub(super) enum Labels {
    /// Numbers of classes. −1 is none: published test sets have it throughout.
    Numbers(Vec<Option<i64>>),
    /// Names of classes.
    Names(Names),
}

/// Names, each kept once.
#[derive(Default)]
pub(super) struct Names {
    rows: Vec<Option<u32>>,
    distinct: Vec<String>,
    numbers: HashMap<String, u32>,
}

/// Most different names: more are not classes.
const MOST_NAMES: usize = 100_000;
/// Longest name of a class, bytes.
const MOST_NAME: usize = 256;

/// Rows that were read, or the row (of this file) that holds no label, and why it is none.
type Read = Result<usize, (usize, String)>;

impl Labels {
    /// None yet.
    pub fn of(text: bool) -> Self {
        if text { Labels::Names(Names::default()) } else { Labels::Numbers(Vec::new()) }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Labels::Numbers(rows) => rows.len(),
            Labels::Names(names) => names.rows.len(),
        }
    }

    /// Rows without a label, and the first of them.
    pub fn missing(&self) -> (usize, Option<usize>) {
        let missing: &dyn Fn(&usize) -> bool = match self {
            Labels::Numbers(rows) => &|row| rows[*row].is_none(),
            Labels::Names(names) => &|row| names.rows[*row].is_none(),
        };
        let all = 0..self.len();
        (all.clone().filter(missing).count(), all.into_iter().find(missing))
    }

    /// Reads at most so many rows more.
    ///
    /// # Errors
    /// From the crate.
    pub fn read(&mut self, column: &mut ColumnReader, most: usize) -> parquet::errors::Result<Read> {
        match (self, column) {
            (Labels::Numbers(rows), ColumnReader::Int64ColumnReader(column)) => {
                numbers(rows, read(column, most)?, |n| Ok(Some(n)))
            }
            (Labels::Numbers(rows), ColumnReader::Int32ColumnReader(column)) => {
                numbers(rows, read(column, most)?, |n| Ok(Some(n.into())))
            }
            (Labels::Numbers(rows), ColumnReader::BoolColumnReader(column)) => {
                numbers(rows, read(column, most)?, |n| Ok(Some(n.into())))
            }
            (Labels::Numbers(rows), ColumnReader::FloatColumnReader(column)) => {
                numbers(rows, read(column, most)?, |n| whole(n.into()))
            }
            (Labels::Numbers(rows), ColumnReader::DoubleColumnReader(column)) => {
                numbers(rows, read(column, most)?, whole)
            }
            (Labels::Names(names), ColumnReader::ByteArrayColumnReader(column)) => {
                Ok(names.add(read(column, most)?))
            }
            _ => Err(ParquetError::General("labels must be whole numbers or text".into())),
        }
    }

    /// Appends those of the next file.
    ///
    /// # Errors
    /// When ones are numbers and others are names.
    pub fn append(&mut self, other: Labels) -> Result<(), String> {
        match (self, other) {
            (Labels::Numbers(rows), Labels::Numbers(more)) => rows.extend(more),
            (Labels::Names(names), Labels::Names(more)) => names.append(more)?,
            _ => return Err("labels are numbers in some files of the split and text in others".into()),
        }
        Ok(())
    }

    /// The classes, where labels are their names: sorted.
    pub fn classes(&self) -> Option<Vec<String>> {
        match self {
            Labels::Numbers(_) => None,
            Labels::Names(names) => {
                let mut classes = names.distinct.clone();
                classes.sort();
                Some(classes)
            }
        }
    }

    /// The largest number.
    pub fn largest(&self) -> Option<i64> {
        match self {
            Labels::Numbers(rows) => rows.iter().flatten().copied().max(),
            Labels::Names(_) => None,
        }
    }

    /// Whether no two rows have the same number.
    pub fn all_differ(&self) -> bool {
        match self {
            Labels::Numbers(rows) => {
                let mut seen = HashSet::new();
                rows.iter().flatten().all(|label| seen.insert(*label))
            }
            Labels::Names(_) => false,
        }
    }

    /// The number of every row's class; a missing label is −1.
    ///
    /// # Errors
    /// The first row whose name is none of the classes', and the name.
    pub fn numbered(&self, classes: &[String]) -> Result<Vec<i64>, (usize, String)> {
        let names = match self {
            Labels::Numbers(rows) => return Ok(rows.iter().map(|label| label.unwrap_or(-1)).collect()),
            Labels::Names(names) => names,
        };
        let by_name: HashMap<&str, usize> =
            classes.iter().enumerate().map(|(n, class)| (class.as_str(), n)).collect();
        let number = |name: &String| by_name.get(name.as_str()).map(|n| *n as i64);
        let of: Vec<Option<i64>> = names.distinct.iter().map(number).collect();
        let label = |(row, name): (usize, &Option<u32>)| match name {
            None => Ok(-1),
            Some(name) => of[*name as usize].ok_or_else(|| (row, names.distinct[*name as usize].clone())),
        };
        names.rows.iter().enumerate().map(label).collect()
    }
}

/// Appends numbers, each made by `number`; −1 is no label.
fn numbers<T>(
    rows: &mut Vec<Option<i64>>,
    read: Vec<Option<T>>,
    number: impl Fn(T) -> Result<Option<i64>, String>,
) -> parquet::errors::Result<Read> {
    let count = read.len();
    for value in read {
        match value.map(&number).transpose() {
            Ok(label) => rows.push(label.flatten().filter(|label| *label != -1)),
            Err(message) => return Ok(Err((rows.len(), message))),
        }
    }
    Ok(Ok(count))
}

/// The whole number that a fraction is: tables with missing labels hold them so.
fn whole(value: f64) -> Result<Option<i64>, String> {
    if value.is_nan() {
        return Ok(None);
    }
    // All of them in 32 bits are whole numbers of 64.
    if value.fract() == 0.0 && value.abs() <= f64::from(u32::MAX) {
        return Ok(Some(value as i64));
    }
    Err(format!("label {value} is no class: labels are whole numbers, or the classes' names"))
}

impl Names {
    fn add(&mut self, read: Vec<Option<ByteArray>>) -> Read {
        let count = read.len();
        for value in read {
            let bytes = value.as_ref().map_or(&[][..], ByteArray::data);
            let name = std::str::from_utf8(bytes).ok().filter(|name| name.len() <= MOST_NAME);
            let row = self.rows.len();
            let name = name.ok_or_else(|| {
                let what = format!("a label of {} bytes", bytes.len());
                (row, format!("{what} is no class: labels are whole numbers, or the classes' names"))
            })?;
            let number = self.number(name).map_err(|message| (row, message))?;
            self.rows.push(number);
        }
        Ok(count)
    }

    /// The number of a name; none of an empty one.
    fn number(&mut self, name: &str) -> Result<Option<u32>, String> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(number) = self.numbers.get(name) {
            return Ok(Some(*number));
        }
        // Accents are written in two ways: the name is one.
        let composed = class(name);
        if let Some(number) = self.numbers.get(&composed).copied() {
            self.numbers.insert(name.to_owned(), number);
            return Ok(Some(number));
        }
        if self.distinct.len() == MOST_NAMES {
            return Err(format!("more than {MOST_NAMES} different labels: these are no classes"));
        }
        let number = self.distinct.len() as u32;
        self.distinct.push(composed.clone());
        self.numbers.insert(composed, number);
        self.numbers.insert(name.to_owned(), number);
        Ok(Some(number))
    }

    fn append(&mut self, other: Names) -> Result<(), String> {
        let own = other.distinct.iter().map(|name| self.number(name)).collect::<Result<Vec<_>, _>>()?;
        self.rows.extend(other.rows.iter().map(|row| row.and_then(|n| own[n as usize])));
        Ok(())
    }
}
