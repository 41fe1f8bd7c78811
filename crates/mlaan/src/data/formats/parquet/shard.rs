//! One parquet file: its labels, and the encoded images of some of its rows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::basic::{Repetition, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type as Schema};

use super::super::super::decode::file_placeholder;
use super::super::super::stored::{CHUNK, CHUNK_BYTES};
use super::footer::{Footer, footer};
use super::labels::Labels;
use super::pages::{Budget, Pages};
use super::schema::{Columns, columns};
use super::values::read;
use crate::caught::caught;
use crate::{Error, Result};

/// An open parquet file.
pub(super) struct Shard {
    /// The file's path, for messages.
    pub place: String,
    /// Where image and label are.
    pub columns: Columns,
    /// What the file says of itself.
    pub footer: Footer,
    file: Arc<File>,
    size: u64,
    /// Bytes that the largest page of images took that was read.
    work: AtomicUsize,
}

impl Shard {
    /// Opens a file and reads its footer. Labels are in the column `label`, where other files have said so.
    ///
    /// # Errors
    /// When it is no parquet file, claims what its bytes cannot hold, or lacks an image column.
    pub fn open(path: &Path, label: Option<&str>) -> Result<Self> {
        let place = path.display().to_string();
        let file = crate::files::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        let unread = |message: String| {
            let message = match file_placeholder(path) {
                Some(what) => what.to_owned(),
                None => format!("cannot be read as parquet ({message}); if it is damaged, fetch it again"),
            };
            Error::data(&place, message)
        };
        let footer = footer(&file, size).map_err(unread)?;
        let columns = columns(&footer, label).map_err(|message| Error::data(&place, message))?;
        let shard = Shard { place, columns, footer, file: Arc::new(file), size, work: AtomicUsize::new(0) };
        shard.plausible()?;
        Ok(shard)
    }

    /// Refuses counts beyond the file's bytes, and what is not read at all.
    fn plausible(&self) -> Result<()> {
        let error = |message: &str| Err(Error::data(&self.place, message));
        let rows = self.footer.groups.iter().fold(0_u64, |all, group| all.saturating_add(group.rows as u64));
        // An image takes a byte at least, whatever its label is packed into.
        if rows > self.size {
            return error("announces more rows than it has bytes: it is damaged; fetch it again");
        }
        for leaf in [Some(self.columns.image), self.columns.label].into_iter().flatten() {
            let mut bytes = 0_u64;
            for group in &self.footer.groups {
                let chunk = &group.chunks[leaf];
                if let Some(message) = chunk.unread {
                    return error(message);
                }
                Pages::new(self.file.clone(), chunk, 0, Budget::of(0))
                    .map_err(|e| Error::data(&self.place, e))?;
                bytes = bytes.saturating_add(chunk.bytes);
                if chunk.values != group.rows as u64 {
                    return error("has another number of values than rows: it is damaged; fetch it again");
                }
            }
            if bytes > self.size {
                return error("announces larger columns than it has bytes: it is damaged; fetch it again");
            }
        }
        Ok(())
    }

    /// What the column of labels is called.
    pub fn label(&self) -> Option<&str> {
        self.footer.leaves.get(self.columns.label?)?.path.first().map(String::as_str)
    }

    /// The values of a column in a group.
    fn column(&self, group: usize, leaf: usize, budget: &Budget) -> parquet::errors::Result<ColumnReader> {
        let (chunk, leaf) = (&self.footer.groups[group].chunks[leaf], &self.footer.leaves[leaf]);
        let pages = Pages::new(self.file.clone(), chunk, leaf.nullable, budget.clone());
        let pages = pages.map_err(ParquetError::General)?;
        let repetition = if leaf.nullable > 0 { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let name = leaf.path.last().map_or("", String::as_str);
        let schema = Schema::primitive_type_builder(name, leaf.stored).with_repetition(repetition).build()?;
        let path = ColumnPath::new(leaf.path.clone());
        let about = ColumnDescriptor::new(Arc::new(schema), leaf.nullable, 0, path);
        Ok(get_column_reader(Arc::new(about), Box::new(pages)))
    }

    /// The labels of all rows; of a file without a column of them they are missing.
    ///
    /// # Errors
    /// When the file is damaged, or a label is none.
    pub fn labels(&self) -> Result<Labels> {
        let Some(leaf) = self.columns.label else {
            let rows = self.footer.groups.iter().map(|group| group.rows).sum();
            return Ok(Labels::Numbers(vec![None; rows]));
        };
        let budget = Budget::of(self.size);
        let mut labels = Labels::of(self.footer.leaves[leaf].stored == Type::BYTE_ARRAY);
        for (group, about) in self.footer.groups.iter().enumerate() {
            let mut column = self.caught(|| self.column(group, leaf, &budget))?;
            let mut left = about.rows;
            while left > 0 {
                let wanted = left.min(LABELS);
                let read = self.caught(|| labels.read(&mut column, wanted))?;
                let read = read.map_err(|(row, message)| Error::data(self.row(row), message))?;
                if read == 0 {
                    let message = format!("{left} labels fewer than rows: it is damaged; fetch it again");
                    return Err(Error::data(&self.place, message));
                }
                left = left.saturating_sub(read);
            }
        }
        Ok(labels)
    }

    /// Hands the encoded images of `rows` (ascending) to `each`, some at a time; `None` for a row
    /// without image.
    ///
    /// # Errors
    /// When the file is damaged, or from `each`.
    pub fn images(&self, rows: &[usize], mut each: impl FnMut(Vec<Encoded>) -> Result<()>) -> Result<()> {
        let mut start = 0;
        let mut pending = Vec::new();
        let budget = Budget::of(self.size);
        for (group, about) in self.footer.groups.iter().enumerate() {
            let end = start + about.rows;
            let first = rows.partition_point(|row| *row < start);
            let last = rows.partition_point(|row| *row < end);
            if first < last {
                let column = self.caught(|| self.column(group, self.columns.image, &budget))?;
                self.group_images(column, start, &rows[first..last], &mut pending, &mut each)?;
            }
            start = end;
        }
        self.work.fetch_max(budget.largest(), Ordering::Relaxed);
        if pending.is_empty() { Ok(()) } else { each(pending) }
    }

    /// The rows of one group, which starts at row `start` of the file.
    fn group_images(
        &self,
        column: ColumnReader,
        start: usize,
        rows: &[usize],
        pending: &mut Vec<Encoded>,
        each: &mut impl FnMut(Vec<Encoded>) -> Result<()>,
    ) -> Result<()> {
        let ColumnReader::ByteArrayColumnReader(mut column) = column else {
            return Err(Error::data(&self.place, "the image column is not binary"));
        };
        let mut at = start;
        for run in runs(rows) {
            let (first, last) = (run[0], run[run.len() - 1]);
            let images = self.caught(|| {
                column.skip_records(first - at)?;
                read(&mut column, run.len())
            })?;
            if images.len() != run.len() {
                let row = self.row(first + images.len());
                return Err(Error::data(row, "the file ends here; fetch it again"));
            }
            let held: usize = pending.iter().flat_map(|(_, image)| image).map(Vec::len).sum();
            if pending.len() + run.len() > CHUNK || held > CHUNK_BYTES {
                each(std::mem::take(pending))?;
            }
            // Copied at once: a value holds the whole page that it lies in, and of a few images of many each lies in another.
            let copied = images.into_iter().map(|image| image.map(|bytes| bytes.data().to_vec()));
            pending.extend(run.iter().copied().zip(copied));
            at = last + 1;
        }
        Ok(())
    }

    /// Bytes that reading images took beside them: a page, and a dictionary, that may be as large.
    pub fn work_bytes(&self) -> usize {
        2 * self.work.load(Ordering::Relaxed)
    }

    /// How messages name a row (0-based, of this file).
    pub fn row(&self, row: usize) -> String {
        format!("{}, row {row}", self.place)
    }

    /// What the parquet crate gives. It panics over some damaged bytes: that is a damaged file too.
    fn caught<T>(&self, work: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
        let message = match caught(work) {
            Some(Ok(done)) => return Ok(done),
            Some(Err(ParquetError::NYI(message))) => format!("not read: {message}"),
            Some(Err(e)) => format!("cannot be read as parquet ({e}); if it is damaged, fetch it again"),
            None => "cannot be read as parquet: it is damaged; fetch it again".into(),
        };
        Err(Error::data(&self.place, message))
    }
}

/// A row's encoded image; none where it has none.
pub(super) type Encoded = (usize, Option<Vec<u8>>);

/// Rows whose images are read at once: how large they are is known only then.
const RUN: usize = 16;
/// Rows whose labels are read at once.
const LABELS: usize = 4096;

/// Splits ascending rows into runs without gaps, of at most [`RUN`] rows.
fn runs(rows: &[usize]) -> impl Iterator<Item = &[usize]> {
    rows.chunk_by(|a, b| *b == a + 1).flat_map(|run| run.chunks(RUN))
}
