//! One parquet file: its labels, and the encoded images of some of its rows.

use std::fs::File;
use std::path::Path;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::super::super::stored::{CHUNK, CHUNK_BYTES};
use super::schema::{Columns, columns};
use crate::{Error, Result};

/// An open parquet file.
pub(super) struct Shard {
    /// The file's path, for messages.
    pub place: String,
    /// Where image and label are.
    pub columns: Columns,
    reader: SerializedFileReader<File>,
}

impl Shard {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// When it is no parquet file or lacks an image or label column.
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let file = crate::files::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let reader = SerializedFileReader::new(file).map_err(|e| damaged(&place, &e))?;
        let columns = columns(reader.metadata(), &place)?;
        let rows = reader.metadata().row_groups().iter().map(|g| g.num_rows());
        // An image takes a byte at least, whatever its label is packed into.
        if rows.fold(0, i64::saturating_add) > i64::try_from(bytes).unwrap_or(i64::MAX) {
            let message = "announces more rows than it has bytes: it is damaged; fetch it again";
            return Err(Error::data(place, message));
        }
        Ok(Shard { place, columns, reader })
    }

    /// The labels of all rows.
    ///
    /// # Errors
    /// When the file is damaged or a row has no label.
    pub fn labels(&self) -> Result<Vec<i64>> {
        let mut labels = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            for label in self.group_labels(group).map_err(|e| self.damaged(&e))? {
                let row = labels.len();
                let message = "this row has no label: remove it from the set";
                labels.push(label.ok_or_else(|| Error::data(self.row(row), message))?);
            }
        }
        Ok(labels)
    }

    fn group_labels(&self, group: usize) -> parquet::errors::Result<Vec<Option<i64>>> {
        let group = self.reader.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let labels = match group.get_column_reader(self.columns.label)? {
            ColumnReader::Int64ColumnReader(mut column) => read(&mut column, rows)?,
            ColumnReader::Int32ColumnReader(mut column) => {
                read(&mut column, rows)?.into_iter().map(|label| label.map(i64::from)).collect()
            }
            _ => return Err(ParquetError::General("labels must be whole numbers".into())),
        };
        if labels.len() == rows {
            return Ok(labels);
        }
        let found = labels.len();
        let message = format!("{rows} rows announced, {found} labels found");
        Err(ParquetError::General(message))
    }

    /// Hands the encoded images of `rows` (ascending) to `each`, some at a time; `None` for a row
    /// without image.
    ///
    /// # Errors
    /// When the file is damaged, or from `each`.
    pub fn images(
        &self,
        rows: &[usize],
        mut each: impl FnMut(&[(usize, Option<ByteArray>)]) -> Result<()>,
    ) -> Result<()> {
        let mut start = 0;
        let mut pending = Vec::new();
        for (group, meta) in self.reader.metadata().row_groups().iter().enumerate() {
            let end = start + usize::try_from(meta.num_rows()).unwrap_or(0);
            let first = rows.partition_point(|row| *row < start);
            let last = rows.partition_point(|row| *row < end);
            if first < last {
                self.group_images(group, start, &rows[first..last], &mut pending, &mut each)?;
            }
            start = end;
        }
        if pending.is_empty() { Ok(()) } else { each(&pending) }
    }

    /// The rows of one group, which starts at row `start` of the file.
    fn group_images(
        &self,
        group: usize,
        start: usize,
        rows: &[usize],
        pending: &mut Vec<(usize, Option<ByteArray>)>,
        each: &mut impl FnMut(&[(usize, Option<ByteArray>)]) -> Result<()>,
    ) -> Result<()> {
        let damaged = |e: ParquetError| self.damaged(&e);
        let group = self.reader.get_row_group(group).map_err(damaged)?;
        let column = group.get_column_reader(self.columns.image).map_err(damaged)?;
        let ColumnReader::ByteArrayColumnReader(mut column) = column else {
            return Err(Error::data(&self.place, "the image column is not binary"));
        };
        let mut at = start;
        for run in runs(rows) {
            let (first, last) = (run[0], run[run.len() - 1]);
            column.skip_records(first - at).map_err(damaged)?;
            let images = read(&mut column, run.len()).map_err(damaged)?;
            if images.len() != run.len() {
                let row = self.row(first + images.len());
                return Err(Error::data(row, "the file ends here; fetch it again"));
            }
            let held: usize = pending.iter().flat_map(|(_, image)| image).map(ByteArray::len).sum();
            if pending.len() + run.len() > CHUNK || held > CHUNK_BYTES {
                each(pending)?;
                pending.clear();
            }
            pending.extend(run.iter().copied().zip(images));
            at = last + 1;
        }
        Ok(())
    }

    /// How messages name a row (0-based, of this file).
    pub fn row(&self, row: usize) -> String {
        format!("{}, row {row}", self.place)
    }

    fn damaged(&self, error: &ParquetError) -> Error {
        damaged(&self.place, error)
    }
}

fn damaged(place: &str, error: &ParquetError) -> Error {
    let message = format!("cannot be read as parquet ({error}); if it is damaged, fetch it again");
    Error::data(place, message)
}

/// Rows that are read at once: how large their images are is known only then.
const RUN: usize = 16;

/// Splits ascending rows into runs without gaps, of at most [`RUN`] rows.
fn runs(rows: &[usize]) -> impl Iterator<Item = &[usize]> {
    rows.chunk_by(|a, b| *b == a + 1).flat_map(|run| run.chunks(RUN))
}

/// The next `rows` values of a column; `None` where the row, or the group around the value, is null.
fn read<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    rows: usize,
) -> parquet::errors::Result<Vec<Option<T::T>>> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (records, _, _) = column.read_records(rows, Some(&mut levels), None, &mut values)?;
    if levels.is_empty() {
        // A column that cannot be null has no levels.
        return Ok(values.into_iter().map(Some).collect());
    }
    // Null or not: a value is present at the deepest level only, and that one occurs whenever there is
    // any value at all.
    let deepest = levels.iter().copied().max().filter(|_| !values.is_empty());
    let mut values = values.into_iter();
    let value = |level: i16| {
        if Some(level) == deepest { values.next() } else { None }
    };
    Ok(levels.into_iter().take(records).map(value).collect())
}
