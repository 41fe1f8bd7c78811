//! Names in an error.

/// Names of each kind that an error lists.
const LISTED: usize = 5;

/// How many there are of `what`, and the first of their names.
pub(super) fn listed(what: &str, names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {what} ({shown}{rest})", names.len())
}
