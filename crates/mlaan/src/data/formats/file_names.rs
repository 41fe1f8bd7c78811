//! What a file's name says of it beside its kind: that it is a download that did not end, a backup or a copy, and which number
//! of a row it has.

use std::collections::BTreeMap;

/// Endings that programs give to what they are still fetching or writing.
const UNFINISHED: [&str; 12] = [
    "part",
    "partial",
    "crdownload",
    "opdownload",
    "download",
    "filepart",
    "incomplete",
    "aria2",
    "!ut",
    "!qb",
    "tmp",
    "temp",
];
/// Endings of backups.
const BACKUPS: [&str; 6] = ["bak", "backup", "old", "orig", "swp", "swo"];

/// The name that a file is to have once its download is done.
pub(in crate::data) fn unfinished(name: &str) -> Option<&str> {
    before(name, &UNFINISHED)
}

/// The name of the file that this one is a backup of, as editors keep them.
pub(in crate::data) fn backup(name: &str) -> Option<&str> {
    let hashes = || name.strip_prefix('#').and_then(|rest| rest.strip_suffix('#'));
    // Emacs numbers them: `a.png.~1~`.
    let numbered = |rest: &'_ str| {
        let digits = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        digits.strip_suffix(".~").map_or(rest.len(), str::len)
    };
    let tilde = || name.strip_suffix('~').map(|rest| &rest[..numbered(rest)]);
    tilde().or_else(hashes).or_else(|| before(name, &BACKUPS))
}

/// What stands before one of `endings`.
fn before<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    let (before, ending) = name.rsplit_once('.')?;
    endings.iter().any(|known| known.eq_ignore_ascii_case(ending)).then_some(before)
}

/// The name of the file that this one is a copy of, as browsers and desktops call them: `a (1).tar`, `a - Copy.tar`.
pub(super) fn copied(name: &str) -> Option<String> {
    const PREFIX: &str = "copy of ";
    if name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        return name.get(PREFIX.len()..).map(str::to_owned);
    }
    name.match_indices('.')
        .find_map(|(dot, _)| without_mark(&name[..dot]).map(|stem| format!("{stem}{}", &name[dot..])))
}

/// A name without the mark of a copy at its end.
fn without_mark(stem: &str) -> Option<&str> {
    const WORDS: [&str; 4] = [" - copy", " copy", "-copy", "_copy"];
    let word = |stem: &str| {
        WORDS.iter().find_map(|word| {
            let at = stem.len().checked_sub(word.len())?;
            stem.get(at..).filter(|end| end.eq_ignore_ascii_case(word)).map(|_| at)
        })
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let in_brackets = stem.strip_suffix(')').and_then(|rest| rest.rsplit_once('('));
    if let Some((rest, _)) = in_brackets.filter(|(_, inside)| number(inside)) {
        let rest = rest.trim_end_matches(' ');
        return Some(&rest[..word(rest).unwrap_or(rest.len())]).filter(|rest| !rest.is_empty());
    }
    let behind = stem.rsplit_once(' ').filter(|(_, last)| number(last)).map_or(stem, |(rest, _)| rest);
    word(behind).map(|at| &behind[..at]).filter(|rest| !rest.is_empty())
}

/// The numbers between which one is missing, among names that are alike but for their last number; of names that say how many
/// there are (`0-of-5`) the one that is missing, twice.
pub(super) fn gap<'a>(stems: impl Iterator<Item = &'a str>) -> Option<Gap> {
    let mut rows: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for (before, number, behind) in stems.filter_map(numbered) {
        rows.entry((before, behind)).or_default().push(number);
    }
    rows.into_iter().find_map(|((_, behind), mut numbers)| {
        numbers.sort_unstable();
        let all = behind.strip_prefix("-of-").map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        if let Some(all) = all.flatten().and_then(|all| all.parse::<u64>().ok()) {
            let missing = (0..all).find(|number| numbers.binary_search(number).is_err())?;
            let found = numbers.len();
            return Some(Gap::Of { missing, found, all });
        }
        let pair = numbers.windows(2).find(|pair| pair[1] - pair[0] > 1)?;
        Some(Gap::Between(pair[0], pair[1]))
    })
}

/// What is missing of files that are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Those between two numbers.
    Between(u64, u64),
    /// One of as many as the names say.
    Of {
        /// The first that is missing.
        missing: u64,
        /// How many are there.
        found: usize,
        /// How many there are to be.
        all: u64,
    },
}

impl Gap {
    /// What is to be said of it.
    pub fn said(self, folder: &str) -> String {
        match self {
            Gap::Between(before, after) => format!(
                "{folder}: a file numbered {after} follows that numbered {before}; if others belong between them, fetch them"
            ),
            Gap::Of { missing, found, all } => format!(
                "{folder}: {found} of {all} files found, without number {missing}, as their names say; fetch the others, unless \
                 a part of the set is meant"
            ),
        }
    }
}

/// What stands before and behind a name's last number, and the number; of `3-of-5` that is the first of both.
fn numbered(stem: &str) -> Option<(&str, u64, &str)> {
    let end = stem.find("-of-").filter(|at| stem[..*at].ends_with(|c: char| c.is_ascii_digit()));
    let end = end.or_else(|| stem.rfind(|c: char| c.is_ascii_digit()).map(|at| at + 1))?;
    let start = stem[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + stem[at..].chars().next().map_or(1, char::len_utf8));
    Some((&stem[..start], stem[start..end].parse().ok()?, &stem[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is_of() {
        assert_eq!(unfinished("a.tar.part"), Some("a.tar"));
        assert_eq!((unfinished("a.jpg.CRDOWNLOAD"), unfinished("part")), (Some("a.jpg"), None));
        for name in ["a.png~", "a.png.bak", "#a.png#", "a.png.~12~", "a.png.ORIG"] {
            assert_eq!(backup(name), Some("a.png"), "{name}");
        }
        assert_eq!((backup("a.png"), backup("é~")), (None, Some("é")));
        for name in [
            "a-0.tar.gz",
            "a-0 (1).tar.gz",
            "a-0(12).tar.gz",
            "a-0 - Copy.tar.gz",
            "a-0 - Copy (2).tar.gz",
            "Copy of a-0.tar.gz",
            "a-0 copy 2.tar.gz",
            "a-0_copy.tar.gz",
            "a-0.tar (1).gz",
        ] {
            assert_eq!(copied(name), (name != "a-0.tar.gz").then(|| "a-0.tar.gz".to_owned()), "{name}");
        }
        assert_eq!((copied("(1).tar"), copied("é (x).tar"), copied("photo 1.tar")), (None, None, None));
    }

    #[test]
    fn a_number_that_is_missing_is_found() {
        let gap = |stems: &[&str]| gap(stems.iter().copied());
        assert_eq!(gap(&["train-0000", "train-0001", "train-0003"]), Some(Gap::Between(1, 3)));
        assert_eq!(gap(&["a-train-0", "b-train-2", "train"]), None);
        assert_eq!(gap(&["train-2-of-3", "train-0-of-3"]), Some(Gap::Of { missing: 1, found: 2, all: 3 }));
        assert_eq!(gap(&["ü1", "ü2", "99999999999999999999999"]), None);
    }
}
