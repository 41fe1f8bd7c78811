//! Names of classes that are not in the images' own files.

use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// Most classes of a set without class names, so that a wild label is an error and not all of memory.
pub(super) const MAX_UNNAMED: i64 = 100_000;
/// Longest text file that is read whole.
const MOST_TEXT: u64 = 64 << 20;

/// The text of a file; nothing where there is none.
///
/// # Errors
/// When it is too long, no text, or cannot be read.
pub(super) fn text(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |message: String| Error::data(path.display().to_string(), message);
    let mut bytes = Vec::new();
    let file = crate::files::open(path).map_err(Error::io(path))?;
    file.take(MOST_TEXT + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MOST_TEXT {
        return Err(wrong("too long for a list: this is another file".into()));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        wrong(format!("no text in UTF-8 (byte {at}): open it in an editor and save it so"))
    })?;
    Ok(Some(unmarked(&text).to_owned()))
}

/// Text without the byte-order mark that some editors begin a file with.
pub(super) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What is wrong with a class's name, where it holds what no name holds: a control character, as a NUL.
pub(super) fn controlled(name: &str) -> Option<String> {
    let found = name.chars().find(|c| c.is_control() && *c != '\t')?;
    let code = u32::from(found);
    Some(format!(
        "has the control character U+{code:04X}, which is in no name of a class: write the name anew"
    ))
}

/// The lines of the first of the files `names` in `folder` that is there.
///
/// # Errors
/// When it cannot be read, or has an empty line between others.
pub(super) fn listed(folder: &Path, names: &[&str]) -> Result<Option<Vec<String>>> {
    for name in names {
        let path = folder.join(name);
        let Some(text) = text(&path)? else {
            continue;
        };
        let lines: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
        if let Some(empty) = lines.iter().position(String::is_empty) {
            let place = format!("{}, line {}", path.display(), empty + 1);
            return Err(Error::data(place, "a class without a name: one line per class is read"));
        }
        for (number, line) in (1..).zip(&lines) {
            if let Some(message) = controlled(line) {
                return Err(Error::data(format!("{}, line {number}", path.display()), message));
            }
        }
        return Ok(Some(lines));
    }
    Ok(None)
}

/// What is to be said of classes that are called by numbers of which the first is never used.
pub(in crate::data) fn from_one(classes: &[String], labels: &[u32]) -> Option<String> {
    let numbers = classes.len() > 1 && classes.iter().enumerate().all(|(at, name)| *name == at.to_string());
    let least = labels.iter().min().filter(|least| numbers && **least > 0)?;
    Some(format!(
        "labels begin at {least}, but are indices of classes, of which the first is 0: subtract {least} from all of them"
    ))
}

/// The numbers up to the largest training label.
///
/// # Errors
/// When that is wild.
pub(super) fn numbered(place: &str, labels: impl Iterator<Item = i64>) -> Result<Vec<String>> {
    let largest = labels.max().unwrap_or(-1);
    if largest >= MAX_UNNAMED {
        let message = format!("label {largest}: without class names, labels must be below {MAX_UNNAMED}");
        return Err(Error::data(place, message));
    }
    Ok((0..=largest).map(|label| label.to_string()).collect())
}
