//! Values of a column.

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;

/// The next `rows` values of a column; `None` where the row, or the group around the value, is null.
pub(super) fn read<T: DataType>(
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
