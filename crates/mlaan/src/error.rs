//! Everything that can go wrong, said so that the reader knows what to do.

use crate::text::{self, line, lines};
use std::path::PathBuf;

/// The library's error. Its text says what was found, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device refused: out of memory, shapes that do not fit.
    #[error(transparent)]
    Engine(#[from] mlaan_engine::Error),
    /// A recipe key is unknown, has the wrong type or an impossible value.
    #[error("recipe key `{}`: {}", line(key), lines(message))]
    Recipe {
        /// The dotted key, as `local.cascade.span`.
        key: String,
        /// What was found and what is allowed.
        message: String,
    },
    /// No recipe, or suite, is called so, or its file is none.
    #[error("{}: {}", line(place), lines(message))]
    NoRecipe {
        /// Its name; of a file the line, too.
        place: String,
        /// What was found and what to do.
        message: String,
    },
    /// A data set is not as expected; `place` names the file, row or folder.
    #[error("{}: {}", line(place), lines(message))]
    Data {
        /// File, folder or row.
        place: String,
        /// What was found and what to do.
        message: String,
    },
    /// A data set has no images to test on, and none of its training images were to be held out for that.
    #[error("{}: {}", line(place), lines(message))]
    NoTestImages {
        /// The set, or the file or folder that lacks them.
        place: String,
        /// What was found and what to do.
        message: String,
    },
    /// A checkpoint is missing, damaged or belongs to another configuration.
    #[error("checkpoint {}: {}", text::path(path), line(message))]
    Checkpoint {
        /// The checkpoint's folder or file.
        path: PathBuf,
        /// What was found and what to do.
        message: String,
    },
    /// A loss became infinite or not a number.
    #[error(
        "{term} loss of module {module} is {value} at epoch {epoch}, step {step}: training stopped. Lower `train.lr`, lengthen `train.warmup`, or look at the data of this step."
    )]
    NonFinite {
        /// Module (0-based).
        module: usize,
        /// `independent`, `cascaded`, `validation`, or `test`.
        term: &'static str,
        /// The loss.
        value: f32,
        /// Epoch (1-based).
        epoch: usize,
        /// Step within the epoch (1-based).
        step: usize,
    },
    /// A run needs more memory than it may use.
    #[error("{message}")]
    Memory {
        /// Bytes that it needs.
        needed: usize,
        /// Bytes that are allowed.
        allowed: usize,
        /// Both, and what to do.
        message: String,
    },
    /// A stage that another one works with ended before its work did; its own error says why.
    #[error("stage {stage} ended before its work did")]
    StageEnded {
        /// Which (0-based).
        stage: usize,
    },
    /// A rank of the job failed, this one or another, or is not heard of any more.
    #[error("rank {rank}: {}", lines(cause))]
    Rank {
        /// Which (0-based).
        rank: usize,
        /// What happened there.
        cause: String,
    },
    /// Several ranks were started that cannot train together.
    #[error("{message}")]
    Ranks {
        /// What was found and what to do.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{}: {}", text::path(path), line(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The library's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A [`Error::Recipe`]; its message is one line, whatever values it repeats.
    pub fn recipe(key: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Recipe { key: key.into(), message: line(&message.into()).into_owned() }
    }

    /// A [`Error::NoRecipe`]; its message is one line, whatever names it repeats.
    pub(crate) fn no_recipe(place: impl Into<String>, message: impl Into<String>) -> Self {
        Error::NoRecipe { place: place.into(), message: line(&message.into()).into_owned() }
    }

    /// A [`Error::Data`]; its message is one line, whatever names it repeats.
    pub fn data(place: impl Into<String>, message: impl Into<String>) -> Self {
        Error::Data { place: place.into(), message: line(&message.into()).into_owned() }
    }

    /// An [`Error::Ranks`]; its message is one line, whatever names it repeats.
    pub fn ranks(message: impl Into<String>) -> Self {
        Error::Ranks { message: line(&message.into()).into_owned() }
    }

    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_errors_repeat_does_nothing_to_a_terminal() {
        let odd = "a\u{1b}[2J\nerror: b\u{202e}";
        let shown = r"a\u{1b}[2J\u{a}error: b\u{202e}";
        let gone = || std::io::Error::other(odd);
        for (e, says) in [
            (Error::data(odd, odd), format!("{shown}: {shown}")),
            (Error::no_recipe(odd, odd), format!("{shown}: {shown}")),
            (Error::recipe(odd, odd), format!("recipe key `{shown}`: {shown}")),
            (Error::io(odd)(gone()), format!("{shown}: {shown}")),
            (
                Error::Checkpoint { path: odd.into(), message: odd.into() },
                format!("checkpoint {shown}: {shown}"),
            ),
        ] {
            assert_eq!(e.to_string(), says);
        }
    }
}
