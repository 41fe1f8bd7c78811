//! The images of a split, as a folder or an archive lists them.

use super::super::notes::Notes;

/// The images of a split and their classes.
pub(super) struct Listed<At> {
    /// What messages call it.
    pub place: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The images, class by class.
    pub images: Vec<At>,
    /// Their labels.
    pub labels: Vec<i64>,
    /// What was not read.
    pub notes: Notes,
}
