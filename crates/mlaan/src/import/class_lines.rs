//! Names of classes, one a line: plain, pasted from a list, or with the index of each.

use super::named::{Named, ordered};

/// What separates an index from a name.
const SEPARATORS: [char; 5] = [',', ':', ';', '=', '|'];
/// What a table's column of indices is called.
const INDEX: [&str; 10] =
    ["id", "index", "idx", "label", "class", "class_id", "class_index", "class_idx", "label_id", "no"];

/// The names in the order of the outputs.
///
/// # Errors
/// An empty line between names; of lines with indices one that is missing or twice.
pub(super) fn lines(text: &str) -> Result<Vec<String>, String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let names: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
    if let Some(at) = names.iter().position(|name| name.is_empty()) {
        // All that follow would be other classes.
        return Err(format!(
            "line {} is empty, and the line says which output a name is of: remove it, or write the name of class {at} there",
            at + 1
        ));
    }
    let names = without_head(&names);
    let names = pasted(names).unwrap_or_else(|| names.iter().map(|name| (*name).to_owned()).collect());
    let Some(pairs) = all(&names, |name| before(name)).or_else(|| all(&names, |name| behind(name))) else {
        return Ok(names);
    };
    let called = |(index, name): (u64, &str)| {
        let name = unquoted(name).unwrap_or_else(|| name.to_owned());
        (Some(index), Named { name, id: None })
    };
    let named = ordered(pairs.into_iter().map(called).collect()).map_err(|e| {
        format!("{e} (each line has a number and a name, so the number says which output it is of; if it belongs to the name, write a JSON list)")
    })?;
    Ok(named.into_iter().map(|class| class.name).collect())
}

/// What `f` finds in each line, where it does so in all.
fn all<'a, T>(names: &'a [String], f: impl Fn(&'a str) -> Option<T>) -> Option<Vec<T>> {
    names.iter().map(|name| f(name)).collect()
}

/// Leaves out what stands above a YAML list (`names:`), or above the columns of a table (`id,name`).
fn without_head<'l, 'a>(lines: &'l [&'a str]) -> &'l [&'a str] {
    let Some((head, rest)) = lines.split_first().filter(|(_, rest)| !rest.is_empty()) else { return lines };
    let indexed = rest.iter().all(|line| before(line).is_some());
    let key = head.strip_suffix(':').is_some_and(|key| !key.contains(char::is_whitespace));
    let listed = indexed || rest.iter().all(|line| line.starts_with("- "));
    let column = head.split([',', '\t', ';']).map(|word| word.trim().to_ascii_lowercase()).next();
    let table = head.contains([',', '\t', ';']) && column.is_some_and(|c| INDEX.contains(&c.as_str()));
    if (key && listed) || (table && indexed) { rest } else { lines }
}

/// The names in lines that are all entries of a list: `- blue`, `"blue",`, `blue,`.
fn pasted(lines: &[&str]) -> Option<Vec<String>> {
    let entries: Option<Vec<&str>> = lines.iter().map(|l| l.strip_prefix("- ").map(str::trim)).collect();
    let is_list = entries.is_some();
    let entries = entries.unwrap_or_else(|| lines.to_vec());
    // The last one of a list may have no comma.
    let (_, first) = entries.split_last()?;
    let commas = !first.is_empty() && first.iter().all(|line| line.ends_with(','));
    let bare = |line: &&str| match commas {
        true => line.strip_suffix(',').unwrap_or(line).trim_end().to_owned(),
        false => (*line).to_owned(),
    };
    let entries: Vec<String> = entries.iter().map(bare).collect();
    let quoted: Option<Vec<String>> = entries.iter().map(|line| unquoted(line)).collect();
    match quoted {
        Some(names) => Some(names).filter(|names| names.iter().all(|name| !name.is_empty())),
        None => (is_list || commas).then_some(entries).filter(|e| e.iter().all(|name| !name.is_empty())),
    }
}

/// The text between two quotation marks that has none itself.
fn unquoted(line: &str) -> Option<String> {
    if line.starts_with('"')
        && let Ok(text) = serde_json::from_str::<String>(line)
    {
        return Some(text.trim().to_owned());
    }
    let inner = |mark: char| line.strip_prefix(mark)?.strip_suffix(mark).filter(|text| !text.contains(mark));
    inner('"').or_else(|| inner('\'')).map(|text| text.trim().to_owned())
}

/// An index and the name behind it: `0 blue`, `0,blue`, `0: blue`, `0. blue`.
fn before(line: &str) -> Option<(u64, &str)> {
    let end = line.find(|c: char| !c.is_ascii_digit())?;
    let index = line[..end].parse().ok()?;
    let rest = &line[end..];
    let marked = rest.strip_prefix(['.', ')']).filter(|rest| rest.starts_with(char::is_whitespace));
    let rest = marked.unwrap_or(rest);
    if !rest.starts_with(|c: char| c.is_whitespace() || SEPARATORS.contains(&c)) {
        return None;
    }
    let rest = rest.trim_start();
    let name = rest.strip_prefix(SEPARATORS).or(rest.strip_prefix("- ")).unwrap_or(rest).trim_start();
    (!name.is_empty()).then_some((index, name))
}

/// A name and the index behind it: `blue,0`. Behind a space a number is part of the name, as in `Boeing 747`.
fn behind(line: &str) -> Option<(u64, &str)> {
    let (name, index) = line.rsplit_once([',', ':', ';', '=', '|', '\t'])?;
    let (name, index) = (name.trim_end(), index.trim_start());
    let plain = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    (plain && !name.is_empty()).then_some((index.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_indices_and_pasted_lists_give_names_in_the_order_of_outputs() {
        for text in [
            "2,red\n1,green\n0,blue",
            "2 red\n0 blue\n1 green\n",
            "0: blue\n1: green\n2: red",
            "1\tgreen\r\n0\tblue\r\n2\tred\r\n",
            "00. blue\n02. red\n01. green",
            "0 - blue\n1 - green\n2 - red",
            "id,name\n2,red\n0,blue\n1,green",
            "names:\n  0: blue\n  2: 'red'\n  1: green",
            "blue\t0\nred\t2\ngreen\t1",
            "red,2\nblue,0\ngreen,1",
            "- blue\n- green\n- red",
            "names:\n- blue\n- green\n- red",
            "- 'blue'\n- 'green'\n- 'red'",
            "\"blue\",\n\"green\",\n\"red\"",
            "'blue',\n'green',\n'red',",
            "\"blue\"\n\"green\"\n\"red\"",
            "blue,\ngreen,\nred",
        ] {
            assert_eq!(lines(text).unwrap(), ["blue", "green", "red"], "{text:?}");
        }
        // Numbers and marks that are part of names, and what not every line has.
        for text in [
            "n01440764 tench, Tinca tinca\nn01443537 goldfish",
            "001.Albatross\n002.Auklet",
            "0\n1\n2",
            "7\n3",
            "Boeing 747\nBoeing 737",
            "0 blue\ngreen",
            "blue,\ngreen\nred",
            "\"blue\"\ngreen",
            "- blue\ngreen",
            "\"a\" or \"b\"\n\"c\"",
            "3D printer\n2nd floor",
            "id,name\nblue,green",
        ] {
            assert_eq!(lines(text).unwrap(), text.lines().collect::<Vec<_>>(), "{text:?}");
        }
        assert_eq!(lines("0 tench, Tinca tinca\n1 goldfish").unwrap(), ["tench, Tinca tinca", "goldfish"]);
    }

    #[test]
    fn a_hole_among_indices_and_one_twice_are_errors() {
        for (text, part) in [
            ("1 dog\n2 cat", "class 0 has no name, and the highest index is 2"),
            ("0,dog\n2,cat", "class 1 has no name"),
            ("0 dog\n0 cat", "class 0 is both \"dog\" and \"cat\""),
            ("dog\t0\ncat\t2", "class 1 has no name"),
            ("blue\n\nred", "line 2 is empty"),
        ] {
            let message = lines(text).unwrap_err();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
