//! Tables without borders, which fit the terminal.

use crate::output;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};
use console::measure_text_width;
use mlaan::text;

/// A table whose cells are lines.
pub struct Table {
    header: Vec<String>,
    /// Columns that are aligned to the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
    /// Columns that the last column is wrapped to, where it holds sentences.
    last: Option<u16>,
}

/// Fewest columns of a last column that holds sentences.
const SENTENCES: u16 = 30;

/// A table; columns marked `>` are aligned to the right.
pub fn table(header: &[&str]) -> Table {
    let name = |h: &&str| text::line(h.strip_prefix('>').unwrap_or(h)).into_owned();
    Table {
        header: header.iter().map(name).collect(),
        right: header.iter().map(|h| h.starts_with('>')).collect(),
        rows: Vec::new(),
        last: None,
    }
}

impl Table {
    /// Adds a row.
    pub fn add_row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| text::line(cell.as_ref()).into_owned()).collect());
    }

    /// Columns that each column takes, with the blanks around it and the one between it and the next.
    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.chain(self.header.get(at)).map(|cell| measure_text_width(cell)).max();
            widest.unwrap_or(0) + 3
        };
        (0..self.header.len()).map(width).collect()
    }

    /// Whether all columns stand beside each other on a terminal that is so wide.
    fn fits(&self, columns: usize) -> bool {
        // Behind the last column stands none.
        self.widths().iter().sum::<usize>() <= columns + 1
    }

    /// Some of its columns.
    fn shown(&self, columns: &[usize]) -> String {
        let of = |cells: &[String]| -> Vec<String> {
            columns.iter().map(|&at| cells.get(at).cloned().unwrap_or_default()).collect()
        };
        let mut table = comfy_table::Table::new();
        let rule = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
        table.load_style(rule).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(of(&self.header));
        self.rows.iter().for_each(|row| {
            table.add_row(of(row));
        });
        for (column, &at) in table.column_iter_mut().zip(columns) {
            column.set_padding((1, 1));
            if self.right.get(at) == Some(&true) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if let Some(last) = self.last {
            let taken: usize = self.widths().iter().rev().skip(1).sum();
            let whole = u16::try_from(taken + 2).unwrap_or(u16::MAX).saturating_add(last);
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(whole);
            if let Some(column) = table.column_mut(columns.len() - 1) {
                column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(last)));
            }
        }
        let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Wraps the last column, so that the table fits a terminal.
pub fn fit(table: &mut Table, width: u16) {
    let taken = table.widths().iter().rev().skip(1).sum::<usize>() + 2;
    let room = width.saturating_sub(u16::try_from(taken).unwrap_or(u16::MAX));
    // Where the others leave no room, columns stand below each other.
    table.last = (room >= SENTENCES || output::columns().is_none()).then_some(room.max(SENTENCES));
}

/// The table as text, without the blanks that lines end with. One that is wider than the terminal is turned, so that a row is
/// a column, where it has few rows; else the columns that have no room stand in tables below, each with the first column.
pub fn text(table: &Table) -> String {
    let whole = || vec![(0..table.header.len()).collect()];
    let groups = match output::columns() {
        Some(columns) if table.last.is_none() => {
            let groups = groups(&table.widths(), columns);
            match (groups.len() > 1).then(|| turned(table)).filter(|turned| turned.fits(columns)) {
                Some(turned) => return turned.shown(&(0..turned.header.len()).collect::<Vec<_>>()),
                None => groups,
            }
        }
        _ => whole(),
    };
    groups.iter().map(|columns| table.shown(columns)).collect::<Vec<_>>().join("\n\n")
}

/// A row for every column but the first, whose cells become the names of the columns.
fn turned(table: &Table) -> Table {
    let cell = |row: &Vec<String>, at: usize| row.get(at).cloned().unwrap_or_default();
    let rows = (1..table.header.len()).map(|at| {
        let name = table.header.get(at).cloned().unwrap_or_default();
        std::iter::once(name).chain(table.rows.iter().map(|row| cell(row, at))).collect()
    });
    Table {
        header: table
            .header
            .iter()
            .take(1)
            .cloned()
            .chain(table.rows.iter().map(|row| cell(row, 0)))
            .collect(),
        right: std::iter::once(false).chain(table.rows.iter().map(|_| true)).collect(),
        rows: rows.collect(),
        last: None,
    }
}

/// Columns that stand beside each other: as many as there is room for, the first in every group.
fn groups(widths: &[usize], room: usize) -> Vec<Vec<usize>> {
    let first = widths.first().copied().unwrap_or(0);
    let (mut all, mut group, mut taken) = (Vec::new(), vec![0], first);
    for (at, width) in widths.iter().enumerate().skip(1) {
        // Behind the last column stands none.
        if taken + width > room + 1 && group.len() > 1 {
            all.push(std::mem::replace(&mut group, vec![0]));
            taken = first;
        }
        group.push(at);
        taken += width;
    }
    all.push(group);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_lines() {
        let mut table = table(&["a\nb", ">c"]);
        table.add_row(["x\u{1b}[2J\ny", "1"]);
        let text = table.shown(&[0, 1]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(r"x\u{1b}[2J\u{a}y"));
    }

    #[test]
    fn columns_without_room_stand_below_with_the_first() {
        assert_eq!(groups(&[10, 20, 20, 20], 100), [vec![0, 1, 2, 3]]);
        assert_eq!(groups(&[10, 20, 20, 20], 50), [vec![0, 1, 2], vec![0, 3]]);
        // One too wide column stands alone.
        assert_eq!(groups(&[10, 90, 5], 50), [vec![0, 1], vec![0, 2]]);
        let mut table = table(&["name", ">value"]);
        table.add_row(["a", "12"]);
        assert_eq!(table.shown(&[0, 1]), " name   value\n──────────────\n a         12");
    }

    #[test]
    fn few_rows_become_columns() {
        let mut table = table(&["method", ">error, %", ">time"]);
        table.add_row(["bp", "8.00", "1 s"]);
        table.add_row(["dgl", "9.00", "2 s"]);
        let turned = turned(&table);
        let text = " method       bp    dgl\n────────────────────────\n error, %   8.00   9.00\n time        1 s    2 s";
        assert_eq!(turned.shown(&[0, 1, 2]), text);
        assert!(turned.fits(24) && !turned.fits(22));
    }

    #[test]
    fn sentences_are_wrapped_in_the_last_column() {
        let mut table = table(&["key", "meaning"]);
        table.add_row(["k", "a sentence that is rather longer than thirty columns"]);
        fit(&mut table, 40);
        let lines: Vec<String> = text(&table).lines().map(str::to_owned).collect();
        assert!(lines.len() > 3 && lines.iter().all(|l| measure_text_width(l) <= 40), "{lines:?}");
    }
}
