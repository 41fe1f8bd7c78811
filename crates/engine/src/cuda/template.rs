//! Programs that are made while the process runs: a source with constants of one operation.

use super::context::lock;
use super::program::{Entry, Program};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What is defined for a program, by name.
pub(super) type Defines = Vec<(&'static str, u32)>;

/// A source, of which there are many programs.
pub(super) struct Template {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) entries: &'static [Entry],
    pub(super) known: Mutex<BTreeMap<Defines, &'static Program>>,
}

impl Template {
    pub(super) const fn new(name: &'static str, source: &'static str, entries: &'static [Entry]) -> Self {
        Template { name, source, entries, known: Mutex::new(BTreeMap::new()) }
    }

    /// The program with these constants, whose launches take `shared` bytes of shared memory. It is kept for good: a
    /// process has as many as its networks have kinds of operations.
    pub(super) fn program(&self, defines: Defines, shared: usize) -> &'static Program {
        let mut known = lock(&self.known);
        if let Some(program) = known.get(&defines) {
            return program;
        }
        let program = Program {
            name: self.name,
            source: self.source,
            defines: Box::leak(defines.clone().into_boxed_slice()),
            entries: self.entries,
            shared: super::args::extent(shared),
        };
        let program: &'static Program = Box::leak(Box::new(program));
        known.insert(defines, program);
        program
    }
}
