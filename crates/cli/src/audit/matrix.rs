//! Losses beside what they reached: a row per loss, a mark per module.

use crate::format;
use mlaan::audit::{Audit, Reach, Reached};
use mlaan::local::{Branch, LossOf, Owner};
use std::ops::Range;

/// Columns of a loss's name at least, which most have.
const LOSS: usize = 18;

/// Columns that stand beside each other: some of the modules, and what is behind the last of them.
struct Part {
    modules: Range<usize>,
    /// Whether the classifier and the auxiliary networks are in it.
    ends: bool,
}

/// The matrix as lines of at most `room` columns: what has no room beside the rest stands below it.
pub fn lines(found: &Audit, room: Option<usize>) -> Vec<String> {
    let whole = Part { modules: 0..found.modules, ends: true };
    let room = room.unwrap_or(usize::MAX);
    let wide = |part: &Part| shown(found, part).iter().map(|l| l.chars().count()).max().unwrap_or(0) > room;
    if !wide(&whole) {
        return shown(found, &whole);
    }
    let width = room.saturating_sub(loss_width(found) + 3).max(10);
    let starts = (0..found.modules).step_by(width);
    let mut parts: Vec<Part> =
        starts.map(|at| Part { modules: at..(at + width).min(found.modules), ends: false }).collect();
    if let Some(last) = parts.last_mut() {
        last.ends = true;
        if wide(last) {
            last.ends = false;
            parts.push(Part { modules: 0..0, ends: true });
        }
    }
    let mut lines = Vec::new();
    for part in &parts {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(shown(found, part));
    }
    lines
}

/// Whether a loss trains the leap chain of another module, which the marks alone do not say.
pub fn shares(found: &Audit) -> bool {
    found
        .rows
        .iter()
        .flat_map(|row| &row.parts)
        .any(|reach| reach.shared && !reach.changed.is_empty() && !reach.leaks())
}

/// Whether something follows a loss by EMA, which the marks alone do not say.
pub fn has_mirrors(found: &Audit) -> bool {
    let parts = found.rows.iter().flat_map(|row| &row.parts);
    parts
        .filter(|reach| matches!(reach.owner, Owner::Auxiliary(..)))
        .any(|reach| !reach.changed.is_empty() && !reach.gradient && !reach.shared && !reach.leaks())
}

/// One part, its header first.
fn shown(found: &Audit, part: &Part) -> Vec<String> {
    let mut lines = header(found, part);
    lines.extend(found.rows.iter().map(|row| line(found, row, part)));
    lines
}

fn loss_width(found: &Audit) -> usize {
    found.rows.iter().map(|row| named(row.loss, found.modules).len()).max().unwrap_or(0).max(LOSS)
}

/// A line of a part: the loss, a mark or digit per module, and what the part ends with.
fn columns((loss, width): (&str, usize), modules: &str, ends: Option<(&str, &str)>) -> String {
    let modules = if modules.is_empty() { String::new() } else { format!("  {modules}") };
    let ends =
        ends.map_or_else(String::new, |(classifier, auxiliary)| format!("  {classifier:<10}  {auxiliary}"));
    format!(" {loss:<width$}{modules}{ends}")
}

/// Numbers of the modules, read downwards.
fn header(found: &Audit, part: &Part) -> Vec<String> {
    let digit = |place: usize| -> String {
        let power = 10usize.pow(place as u32);
        let shown = |m: usize| m >= power || place == 0;
        let of = |m: usize| if shown(m) { format!("{}", m / power % 10) } else { " ".into() };
        part.modules.clone().map(of).collect()
    };
    let (width, places) = (loss_width(found), (found.modules.max(2) - 1).ilog10() as usize + 1);
    let above = (1..places).rev().filter(|_| !part.modules.is_empty());
    let mut lines: Vec<String> = above.map(|p| columns(("", width), &digit(p), None)).collect();
    let ends = part.ends.then_some(("classifier", "auxiliary networks"));
    lines.push(columns(("loss", width), &digit(0), ends));
    lines
}

fn line(found: &Audit, row: &Reached, part: &Part) -> String {
    let width = loss_width(found);
    let mark = |reach: &Reach| match (reach.leaks(), reach.changed.is_empty()) {
        (true, _) => '!',
        (false, true) => '.',
        (false, false) => '#',
    };
    let of = |owner: Owner| row.parts.iter().find(|r| r.owner == owner).map_or('.', mark);
    let modules: String = part.modules.clone().map(|m| of(Owner::Module(m))).collect();
    let (classifier, auxiliary) = (of(Owner::Classifier).to_string(), auxiliaries(row));
    let ends = part.ends.then_some((classifier.as_str(), auxiliary.as_str()));
    columns((&named(row.loss, found.modules), width), &modules, ends)
}

/// As [`said`]; the last module's is the loss of the network's own classifier.
fn named(loss: LossOf, modules: usize) -> String {
    match loss.branch {
        Branch::Independent if loss.module + 1 == modules => format!("{} classifier", loss.module),
        _ => said(loss),
    }
}

/// What a loss reached of auxiliary networks: its own by its gradient, others by a leap chain that it trains with them, or by the
/// mirrors of what it trained.
fn auxiliaries(row: &Reached) -> String {
    let others =
        row.parts.iter().filter(|r| matches!(r.owner, Owner::Auxiliary(..)) && !r.changed.is_empty());
    let (mut own, mut shared, mut follow, mut leak) = (0, 0, 0, 0);
    for reach in others {
        *match reach {
            r if r.leaks() => &mut leak,
            r if r.gradient => &mut own,
            r if r.shared => &mut shared,
            _ => &mut follow,
        } += 1;
    }
    let parts = [
        // A mark first, so that the number is not read as going on from the classifier's.
        (own > 0).then(|| "#".to_owned()).or_else(|| (shared + follow > 0).then(|| ".".to_owned())),
        (shared > 0).then(|| format!("{} shared", format::count(shared))),
        (follow > 0).then(|| format!("{} by EMA", format::count(follow))),
        (leak > 0).then(|| format!("! {}", format::count(leak))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { ".".into() } else { parts.join(", ") }
}

/// What a loss is called: its module and its branch.
pub fn said(loss: LossOf) -> String {
    match loss.branch {
        Branch::Independent => format!("{} independent", loss.module),
        Branch::Cascaded => format!("{} cascaded", loss.module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DGL of so many modules.
    fn dgl(modules: usize) -> Audit {
        let reach = |owner| Reach {
            owner,
            parameters: 1,
            changed: vec!["weight".into()],
            gradient: true,
            mirrors: false,
            shared: false,
        };
        let row = |module: usize| Reached {
            loss: LossOf { module, branch: Branch::Independent },
            parts: vec![reach(Owner::Module(module)), reach(Owner::Auxiliary(module, Branch::Independent))],
        };
        Audit { modules, batch: 4, rows: (0..modules).map(row).collect() }
    }

    #[test]
    fn a_number_that_follows_stands_behind_a_mark() {
        let follows = |gradient| Reach {
            owner: Owner::Auxiliary(1, Branch::Cascaded),
            parameters: 1,
            changed: vec!["aux.leap_0.weight".into()],
            gradient,
            mirrors: true,
            shared: false,
        };
        let row = |parts| Reached { loss: LossOf { module: 0, branch: Branch::Independent }, parts };
        assert_eq!(auxiliaries(&row(vec![follows(false)])), "., 1 by EMA");
        assert_eq!(auxiliaries(&row(vec![follows(true), follows(false)])), "#, 1 by EMA");
        let shared = Reach { shared: true, ..follows(false) };
        assert_eq!(auxiliaries(&row(vec![follows(true), shared, follows(false)])), "#, 1 shared, 1 by EMA");
        assert_eq!(auxiliaries(&row(Vec::new())), ".");
        let mut found = dgl(2);
        assert!(!has_mirrors(&found));
        found.rows.push(row(vec![follows(false)]));
        assert!(has_mirrors(&found));
    }

    #[test]
    fn what_has_room_stands_on_one_line() {
        let found = dgl(3);
        assert_eq!(lines(&found, Some(80)), lines(&found, None));
        assert_eq!(lines(&found, None)[1], " 0 independent       #..  .           #");
        let wide = lines(&dgl(120), None);
        assert_eq!(wide.len(), 3 + 120);
        assert!(wide[3].ends_with(&format!("{}  .           #", ".".repeat(119))), "{}", wide[3]);
    }

    #[test]
    fn many_modules_are_folded_with_their_numbers() {
        for modules in [28, 55, 60, 120, 230] {
            let found = dgl(modules);
            let lines = lines(&found, Some(80));
            let long = lines.iter().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{modules} modules");
            // Every module is once a mark of its own loss, under its own number.
            let (mut at, mut own) = (0, vec![0; modules]);
            for part in lines.split(|line| line.is_empty()) {
                let head = part.iter().position(|line| line.starts_with(" loss")).unwrap();
                let shown = part[head][LOSS + 3..].chars().take_while(char::is_ascii_digit).count();
                for m in 0..shown {
                    let marks: Vec<char> =
                        part[head + 1..].iter().map(|l| l.chars().nth(LOSS + 3 + m).unwrap()).collect();
                    let digits = part[..=head].iter().map(|l| l.chars().nth(LOSS + 3 + m).unwrap());
                    assert_eq!(digits.collect::<String>().trim(), (at + m).to_string());
                    marks.iter().enumerate().filter(|(_, mark)| **mark == '#').for_each(|(loss, _)| {
                        assert_eq!(loss, at + m);
                        own[loss] += 1;
                    });
                }
                at += shown;
            }
            assert_eq!(own, vec![1; modules]);
            assert_eq!(lines.iter().filter(|l| l.contains("auxiliary networks")).count(), 1);
        }
    }
}
