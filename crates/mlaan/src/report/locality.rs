//! Which loss trains which module, as an audit found it.

use super::html::table;
use crate::audit::{Audit, Reached};
use crate::compare::Sheet;
use crate::local::{Branch, Owner};
use crate::text::line;
use maud::{Markup, html};

/// The part of the page about an audit; `name` is that of its folder.
pub fn locality(name: &str, found: &Audit) -> Markup {
    let leaks = found.leaks().count();
    let verdict = match leaks {
        0 if found.missing().next().is_some() => "A loss does not reach what it should.".to_owned(),
        0 => "No gradient crosses a cut that it should not.".to_owned(),
        n => format!("A gradient crosses a cut that it should not: {n} leaks."),
    };
    let about = format!(
        "{}: a training step was taken again with other labels for one loss alone, for each of {} losses. Parameters that \
         differ were reached by that loss. {verdict}",
        line(name),
        found.rows.len()
    );
    let header = ["loss", "modules changed", "modules allowed", "classifier", "auxiliary networks", "leaks"];
    let sheet = Sheet {
        title: format!("Which loss reaches which module: {}", line(name)),
        header: header.map(String::from).to_vec(),
        rows: found.rows.iter().map(row).collect(),
    };
    html! { p { (about) } (table(&sheet)) }
}

fn row(row: &Reached) -> Vec<String> {
    let branch = if row.loss.branch == Branch::Cascaded { "cascaded" } else { "independent" };
    let modules = |wanted: &dyn Fn(&crate::audit::Reach) -> bool| {
        let parts = row.parts.iter().filter(|r| wanted(r));
        let numbers = parts.filter_map(|r| if let Owner::Module(m) = r.owner { Some(m) } else { None });
        ranges(&numbers.collect::<Vec<_>>())
    };
    let changed = |owner: fn(Owner) -> bool| {
        row.parts.iter().filter(|r| owner(r.owner) && !r.changed.is_empty()).collect::<Vec<_>>()
    };
    let auxiliary = changed(|o| matches!(o, Owner::Auxiliary(..)));
    let own = auxiliary.iter().filter(|r| r.gradient).count();
    let shared = auxiliary.iter().filter(|r| !r.gradient && r.shared).count();
    let said = [
        (own > 0).then(|| "own".to_owned()),
        (shared > 0).then(|| format!("{shared} shared")),
        Some(auxiliary.len() - own - shared).filter(|n| *n > 0).map(|n| format!("{n} by EMA")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    let auxiliary = if said.is_empty() { "–".to_owned() } else { said.join(", ") };
    let leaks: Vec<&str> = row.parts.iter().flat_map(|r| r.leaked()).collect();
    vec![
        format!("{} {branch}", row.loss.module),
        modules(&|r| !r.changed.is_empty()),
        modules(&|r| r.gradient),
        if changed(|o| o == Owner::Classifier).is_empty() { "–".into() } else { "changed".into() },
        auxiliary,
        if leaks.is_empty() { "none".into() } else { leaks.join(", ") },
    ]
}

/// Ascending numbers, as 0–2, 5.
fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let said = runs.iter().map(|&(a, b)| if a == b { a.to_string() } else { format!("{a}–{b}") });
    let said = said.collect::<Vec<_>>().join(", ");
    if said.is_empty() { "–".into() } else { said }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbours_are_ranges() {
        assert_eq!(ranges(&[]), "–");
        assert_eq!(ranges(&[4]), "4");
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0–2, 5, 7–8");
    }
}
