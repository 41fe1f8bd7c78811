//! What a parquet file says of itself, at its end: columns, and where the pages of each lie.

use std::fs::File;

use parquet::basic::Type;

use super::super::super::at::read_exact_at;
use super::thrift::{Fault, Struct, parse};

/// Behind a footer: its length, and what the format is told by.
const TAIL: u64 = 8;
/// What an open file ends with.
const MAGIC: &[u8] = b"PAR1";
/// What a file with an encrypted footer ends with.
const ENCRYPTED: &[u8] = b"PARE";
/// Deepest columns that are looked at.
const DEPTH: usize = 16;

/// A file's description.
#[derive(Debug)]
pub(super) struct Footer {
    /// The columns, nested ones by their leaves.
    pub leaves: Vec<Leaf>,
    /// The row groups.
    pub groups: Vec<Group>,
    /// What the `datasets` library says of the columns, as JSON.
    pub features: Option<String>,
}

/// A column that has values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its name, behind those of the groups around it.
    pub path: Vec<String>,
    /// How its values lie.
    pub stored: Type,
    /// Whether its bytes are text.
    pub text: bool,
    /// What its values stand for, where they are neither numbers nor text.
    pub meaning: Option<&'static str>,
    /// How many of the column and the groups around it may be null.
    pub nullable: i16,
    /// Whether a row may have several values.
    pub repeated: bool,
}

/// Rows that lie together.
#[derive(Debug)]
pub(super) struct Group {
    /// Their number.
    pub rows: usize,
    /// Their values, column by column.
    pub chunks: Vec<Chunk>,
}

/// The values of a column in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// How it is compressed, by its number.
    pub codec: i64,
    /// Where its pages begin.
    pub start: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Values, nulls included.
    pub values: u64,
    /// Why it cannot be read at all.
    pub unread: Option<&'static str>,
}

/// The description of `file`, which has so many bytes.
///
/// # Errors
/// What is wrong.
pub(super) fn footer(file: &File, size: u64) -> Result<Footer, String> {
    let mut tail = [0; TAIL as usize];
    let at = size.checked_sub(TAIL).ok_or("too short for a parquet file")?;
    read_exact_at(file, &mut tail, at).map_err(|e| e.to_string())?;
    let (length, magic) = tail.split_at(4);
    match magic {
        MAGIC => {}
        ENCRYPTED => return Err("it is encrypted, which is not read".into()),
        _ => return Err("it does not end as parquet files do".into()),
    }
    let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
    let start = at.checked_sub(length).ok_or("its footer is longer than the file")?;
    let mut bytes = vec![0; length as usize];
    read_exact_at(file, &mut bytes, start).map_err(|e| e.to_string())?;
    let (fields, _) = parse(&bytes).map_err(|fault| match fault {
        Fault::End => "its footer is cut off",
        Fault::Malformed => "its footer is damaged",
    })?;
    described(&fields)
}

fn described(file: &Struct<'_>) -> Result<Footer, String> {
    if file.has(8) {
        return Err("it is encrypted, which is not read".into());
    }
    let leaves = leaves(file)?;
    let group = |fields: &Struct<'_>| {
        let rows = fields.size(3).ok_or("a row group has no number of rows")?;
        let chunks = fields.structs(1).map(chunk).collect::<Result<Vec<_>, _>>()?;
        if chunks.len() != leaves.len() {
            return Err(format!("a row group has {} columns instead of {}", chunks.len(), leaves.len()));
        }
        Ok(Group { rows: usize::try_from(rows).map_err(|e| e.to_string())?, chunks })
    };
    let groups = file.structs(4).map(group).collect::<Result<_, String>>()?;
    let features = file.structs(5).find(|pair| pair.text(1) == Some("huggingface"));
    Ok(Footer { groups, features: features.and_then(|pair| pair.text(2)).map(Into::into), leaves })
}

/// The schema lists groups and columns depth first; a group says how many of the next belong to it.
fn leaves(file: &Struct<'_>) -> Result<Vec<Leaf>, String> {
    /// A group that is being gone through.
    struct Level {
        left: u64,
        path: Vec<String>,
        nullable: i16,
        repeated: bool,
    }
    let mut elements = file.structs(2);
    let root = elements.next().ok_or("it has no columns")?;
    let mut open =
        vec![Level { left: root.size(5).unwrap_or(0), path: Vec::new(), nullable: 0, repeated: false }];
    let mut leaves = Vec::new();
    for element in elements {
        while open.last().is_some_and(|level| level.left == 0) {
            open.pop();
        }
        let depth = open.len();
        let level =
            open.last_mut().filter(|_| depth <= DEPTH).ok_or("its columns are not as it counts them")?;
        level.left -= 1;
        // 0 is always there, 1 may be null, 2 may be there several times.
        let repetition = element.number(3).unwrap_or(0);
        let path = [&level.path[..], &[element.text(4).unwrap_or("?").to_owned()]].concat();
        let nullable = level.nullable + i16::from(repetition != 0);
        let repeated = level.repeated || repetition == 2;
        match element.number(1) {
            Some(stored) => {
                let (text, meaning) = annotated(element);
                leaves.push(Leaf { path, stored: stored_as(stored)?, text, meaning, nullable, repeated });
            }
            None => open.push(Level { left: element.size(5).unwrap_or(0), path, nullable, repeated }),
        }
    }
    Ok(leaves)
}

/// Whether a column is text, and else what its values stand for, by either of its two annotations.
fn annotated(element: &Struct<'_>) -> (bool, Option<&'static str>) {
    let logical = |ids: &[i16]| element.within(10).is_some_and(|kind| ids.iter().any(|id| kind.has(*id)));
    let converted = |numbers: &[i64]| element.number(6).is_some_and(|number| numbers.contains(&number));
    // Text, one of a few texts, JSON.
    let text = converted(&[0, 4, 19]) || logical(&[1, 4, 12]);
    let meaning = match () {
        () if converted(&[5]) || logical(&[5]) => Some("decimal fractions"),
        () if converted(&[6]) || logical(&[6]) => Some("dates"),
        () if converted(&[7, 8]) || logical(&[7]) => Some("times of day"),
        () if converted(&[9, 10]) || logical(&[8]) => Some("points in time"),
        () if converted(&[20, 21]) || logical(&[13]) => Some("BSON or intervals"),
        () if logical(&[14]) => Some("UUIDs"),
        () if logical(&[15]) => Some("fractions of 16 bits"),
        () => None,
    };
    (text, meaning)
}

fn stored_as(number: i64) -> Result<Type, String> {
    Ok(match number {
        0 => Type::BOOLEAN,
        1 => Type::INT32,
        2 => Type::INT64,
        3 => Type::INT96,
        4 => Type::FLOAT,
        5 => Type::DOUBLE,
        6 => Type::BYTE_ARRAY,
        7 => Type::FIXED_LEN_BYTE_ARRAY,
        _ => return Err(format!("a column has values of kind {number}, which is not known")),
    })
}

fn chunk(column: &Struct<'_>) -> Result<Chunk, String> {
    let unread = match (column.has(8), column.has(1)) {
        (true, _) => Some("it is encrypted, which is not read"),
        (_, true) => Some("its values lie in another file, which is not read"),
        _ => None,
    };
    let Some(about) = column.within(3) else {
        let nothing = Chunk {
            codec: 0,
            start: 0,
            bytes: 0,
            values: 0,
            unread: Some("the file does not say where its values lie"),
        };
        return Ok(Chunk { unread: unread.or(nothing.unread), ..nothing });
    };
    let size = |id, what| about.size(id).ok_or_else(|| format!("a column has no {what}"));
    let first = size(9, "pages")?;
    // Some writers say 0 where there is no dictionary.
    let start = about.size(11).filter(|at| *at > 0).map_or(first, |dictionary| dictionary.min(first));
    let (bytes, values) = (size(7, "size")?, size(5, "number of values")?);
    Ok(Chunk { codec: about.number(4).unwrap_or(0), start, bytes, values, unread })
}
