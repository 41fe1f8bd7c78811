//! Dependencies, and the shortest ways round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// That one file or module uses another.
#[derive(Clone, Debug)]
pub struct Edge {
    /// What uses.
    pub from: String,
    /// What is used.
    pub to: String,
    /// Where, and by which words.
    pub by: String,
}

/// The top-level module that a file is part of.
fn module(file: &str) -> String {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

impl Edge {
    /// The same between the top-level modules of the crate, unless both ends are in one.
    pub fn between_modules(&self) -> Option<Edge> {
        let (from, to) = (module(&self.from), module(&self.to));
        (from != to).then(|| Edge { from, to, by: format!("{}:{}", self.from, self.by) })
    }
}

/// For every edge that lies on a cycle the shortest one through it, each once.
pub fn cycles(edges: &[Edge]) -> Vec<Vec<Edge>> {
    let mut next: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        next.entry(&edge.from).or_default().push(edge);
    }
    let mut seen: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    let mut found = Vec::new();
    for edge in edges {
        let Some(back) = way(&next, &edge.to, &edge.from) else { continue };
        let cycle: Vec<&Edge> = std::iter::once(edge).chain(back).collect();
        if seen.insert(cycle.iter().map(|e| e.from.as_str()).collect()) {
            found.push(cycle.into_iter().cloned().collect());
        }
    }
    found
}

/// The shortest way.
fn way<'e>(next: &BTreeMap<&str, Vec<&'e Edge>>, from: &'e str, to: &str) -> Option<Vec<&'e Edge>> {
    let mut came: BTreeMap<&str, &'e Edge> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if at == to {
            let mut way = Vec::new();
            let mut at = at;
            while at != from {
                let edge = came[at];
                way.insert(0, edge);
                at = &edge.from;
            }
            return Some(way);
        }
        for edge in next.get(at).into_iter().flatten() {
            if edge.to != from && !came.contains_key(edge.to.as_str()) {
                came.insert(&edge.to, edge);
                open.push_back(&edge.to);
            }
        }
    }
    None
}
