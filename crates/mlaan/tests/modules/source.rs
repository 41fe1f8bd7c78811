//! The files of a crate, what each defines, and what its paths lead to.

use super::graph::Edge;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Names = Vec<String>;

/// A `use` of one name, or a path in code.
#[derive(Clone)]
struct Mention {
    path: Names,
    line: usize,
}

/// A module: a file, or a part of one.
#[derive(Default)]
struct Module {
    file: usize,
    defines: BTreeSet<String>,
    /// Names that `use` brings, whether they are passed on, and from where.
    brings: BTreeMap<String, (bool, Mention)>,
    globs: Vec<(bool, Mention)>,
    paths: Vec<Mention>,
    /// What paths begin with, beside those of `use`; a single word is one.
    words: BTreeSet<String>,
}

/// The modules of a crate by their paths, and its files.
#[derive(Default)]
pub struct Sources {
    modules: BTreeMap<Names, Module>,
    files: Vec<(String, String)>,
}

const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

impl Sources {
    /// Reads a crate whose root lies in `src`.
    pub fn read(src: &Path) -> Self {
        let mut sources = Sources::default();
        for root in ["lib.rs", "main.rs"] {
            if src.join(root).is_file() {
                sources.file(src, root, Vec::new());
            }
        }
        assert!(!sources.files.is_empty(), "no crate in {}", src.display());
        sources
    }

    fn file(&mut self, src: &Path, name: &str, module: Names) {
        let text = fs::read_to_string(src.join(name)).unwrap();
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        self.files.push((name.to_owned(), text));
        let file = self.files.len() - 1;
        let children = self.part(tokens, &module, file);
        let folder = match name.rsplit_once('/').unwrap_or(("", name)) {
            (folder, "mod.rs" | "lib.rs" | "main.rs") => folder.to_owned(),
            _ => name.trim_end_matches(".rs").to_owned(),
        };
        for child in children {
            let stem = if folder.is_empty() { child.clone() } else { format!("{folder}/{child}") };
            let names = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
            let found = names.iter().find(|n| src.join(n).is_file());
            let found = found.unwrap_or_else(|| panic!("{name} declares {child}, which has no file"));
            self.file(src, found, [module.clone(), vec![child]].concat());
        }
    }

    /// Takes in a module's text; the modules that it declares in files of their own.
    fn part(&mut self, tokens: TokenStream, module: &Names, file: usize) -> Names {
        self.modules.insert(module.clone(), Module { file, ..Module::default() });
        let mut children = Vec::new();
        self.walk(tokens, module, true, &mut children);
        children
    }

    fn walk(&mut self, tokens: TokenStream, module: &Names, top: bool, children: &mut Names) {
        let all: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        // Where `pub` and what may be in brackets behind it ends.
        let mut public = None;
        while at < all.len() {
            if is_test(&all, at) {
                at = after_item(&all, at + 2);
                continue;
            }
            let first = word(&all, at).unwrap_or_default();
            match (first.as_str(), &all[at]) {
                ("pub", _) => {
                    at += 1 + usize::from(is_group(all.get(at + 1), Delimiter::Parenthesis));
                    public = Some(at);
                    continue;
                }
                ("use", _) => {
                    let end = (at..all.len()).find(|i| is_punct(all.get(*i), ';')).unwrap_or(all.len());
                    self.bring(&all[at + 1..end], &[], module, public == Some(at));
                    at = end;
                }
                ("mod", _) if top && is_punct(all.get(at + 2), ';') => {
                    // Another path leads out of the crate.
                    let elsewhere = (0..at).rev().take(2).any(|i| all[i].to_string().starts_with("[path"));
                    children.extend(word(&all, at + 1).filter(|_| !elsewhere));
                    at += 2;
                }
                ("mod", _) if top && is_group(all.get(at + 2), Delimiter::Brace) => {
                    let inner: Names = module.iter().cloned().chain(word(&all, at + 1)).collect();
                    if let Some(TokenTree::Group(g)) = all.get(at + 2) {
                        let file = self.modules[module].file;
                        let _ = self.part(g.stream(), &inner, file);
                    }
                    at += 2;
                }
                (_, TokenTree::Group(g)) => self.walk(g.stream(), module, false, children),
                ("", _) => {}
                (w, _) => {
                    if top && ITEMS.contains(&w) {
                        let bang = usize::from(is_punct(all.get(at + 1), '!'));
                        let name = word(&all, at + 1 + bang);
                        self.at(module).defines.extend(name);
                    }
                    at = self.path(&all, at, module);
                    continue;
                }
            }
            at += 1;
        }
    }

    fn at(&mut self, module: &Names) -> &mut Module {
        self.modules.get_mut(module).unwrap()
    }

    /// Takes in a path of one or more words from `at`; where it ends.
    fn path(&mut self, all: &[TokenTree], at: usize, module: &Names) -> usize {
        let line = all[at].span().start().line;
        let mut path: Names = word(all, at).into_iter().collect();
        let mut end = at + 1;
        while is_colons(all, end) {
            let Some(next) = word(all, end + 2) else { break };
            path.push(next);
            end += 3;
        }
        let outer = at >= 2 && is_colons(all, at - 2) || at >= 1 && is_punct(all.get(at - 1), '.');
        if outer {
            return end;
        }
        let module = self.at(module);
        module.words.extend(path.first().cloned());
        if path.len() > 1 {
            module.paths.push(Mention { path, line });
        }
        end
    }

    /// Takes in the tree of a `use`.
    fn bring(&mut self, tree: &[TokenTree], before: &[String], module: &Names, public: bool) {
        let mut path = before.to_vec();
        let mut alias = None;
        let mut line = 0;
        for (i, token) in tree.iter().enumerate() {
            line = token.span().start().line;
            match token {
                TokenTree::Ident(w) if *w == "as" => {
                    alias = word(tree, i + 1);
                    break;
                }
                TokenTree::Ident(w) => path.push(w.to_string()),
                TokenTree::Punct(p) if p.as_char() == '*' => {
                    self.at(module).globs.push((public, Mention { path, line }));
                    return;
                }
                TokenTree::Group(g) => {
                    let inner: Vec<TokenTree> = g.stream().into_iter().collect();
                    for one in inner.split(|t| is_punct(Some(t), ',')).filter(|one| !one.is_empty()) {
                        self.bring(one, &path, module, public);
                    }
                    return;
                }
                _ => {}
            }
        }
        if path.len() > 1 && path.last().is_some_and(|w| w == "self") {
            path.pop();
        }
        let Some(name) = alias.or_else(|| path.last().cloned()) else { return };
        // Traits without a name are many.
        let name = if name == "_" { format!("_{}", path.join("::")) } else { name };
        self.at(module).brings.insert(name, (public, Mention { path, line }));
    }

    /// The file that defines what `path` leads to from `module`; nothing if it leads out of the crate or to a module, which is
    /// used by what is named in it.
    fn target(&self, module: &[String], path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.within(&[], rest, depth),
            "self" => self.within(module, rest, depth),
            "super" => self.target_above(module, rest, depth),
            _ if self.knows(module, first) => self.within(module, path, depth),
            _ => self.through_globs(module, path, depth),
        }
    }

    fn target_above(&self, module: &[String], rest: &[String], depth: usize) -> Option<usize> {
        let above = &module[..module.len() - 1];
        if rest.first().is_some_and(|w| w == "super") {
            return self.target_above(above, &rest[1..], depth);
        }
        self.within(above, rest, depth)
    }

    fn knows(&self, module: &[String], name: &str) -> bool {
        let m = &self.modules[module];
        m.defines.contains(name) || m.brings.contains_key(name) || self.child(module, name).is_some()
    }

    fn child(&self, module: &[String], name: &str) -> Option<Names> {
        let child: Names = module.iter().cloned().chain([name.to_owned()]).collect();
        self.modules.contains_key(&child).then_some(child)
    }

    fn within(&self, module: &[String], path: &[String], depth: usize) -> Option<usize> {
        let (first, rest) = path.split_first()?;
        let m = &self.modules[module];
        if let Some(child) = self.child(module, first)
            && (!rest.is_empty() || !m.defines.contains(first) && !m.brings.contains_key(first))
        {
            return self.within(&child, rest, depth);
        }
        if let Some((_, from)) = m.brings.get(first) {
            // A name may be brought from a module of the same name.
            let own = from.path.first() == Some(first);
            if depth == 0 || own && self.child(module, first).is_none() {
                return None;
            }
            return self.target(module, &[&from.path[..], rest].concat(), depth - 1);
        }
        if m.defines.contains(first) {
            return Some(m.file);
        }
        // What a macro defines stands where the macro is.
        self.through_globs(module, path, depth).or(Some(m.file))
    }

    fn through_globs(&self, module: &[String], path: &[String], depth: usize) -> Option<usize> {
        let depth = depth.checked_sub(1)?;
        self.modules[module].globs.iter().find_map(|(_, glob)| {
            let module = self.module(module, &glob.path, depth)?;
            self.knows(&module, &path[0]).then(|| self.within(&module, path, depth)).flatten()
        })
    }

    /// The module that `path` leads to.
    fn module(&self, from: &[String], path: &[String], depth: usize) -> Option<Names> {
        let mut at = from.to_vec();
        for (i, word) in path.iter().enumerate() {
            match word.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                name => match self.child(&at, name) {
                    Some(child) => at = child,
                    None => {
                        let (_, from) = self.modules[&at].brings.get(name)?;
                        let joined = [&from.path[..], &path[i + 1..]].concat();
                        return if depth == 0 { None } else { self.module(&at, &joined, depth - 1) };
                    }
                },
            }
        }
        Some(at)
    }

    /// Which file uses which, and where; each pair once.
    pub fn edges(&self) -> Vec<Edge> {
        const DEPTH: usize = 16;
        let mut found: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (name, module) in &self.modules {
            // What is only passed on is not used.
            let used = |name: &str, public: bool| !public || module.words.contains(name);
            let brings = module.brings.iter().filter(|(name, (public, _))| used(name, *public));
            let mentions = brings.map(|(_, (_, from))| from).chain(&module.paths);
            let mut add = |to: usize, line: usize| {
                if to != module.file {
                    let at = found.entry((module.file, to)).or_insert(line);
                    *at = line.min(*at);
                }
            };
            for mention in mentions {
                if let Some(to) = self.target(name, &mention.path, DEPTH) {
                    add(to, mention.line);
                }
            }
            for (_, glob) in module.globs.iter().filter(|(public, _)| !public) {
                if let Some(to) = self.module(name, &glob.path, DEPTH) {
                    add(self.modules[&to].file, glob.line);
                }
            }
        }
        let edge = |((from, to), line): ((usize, usize), usize)| {
            let text = self.files[from].1.lines().nth(line - 1).unwrap_or_default().trim();
            let name = |file: usize| self.files[file].0.clone();
            Edge { from: name(from), to: name(to), by: format!("{line}: {text}") }
        };
        found.into_iter().map(edge).collect()
    }
}

fn word(all: &[TokenTree], at: usize) -> Option<String> {
    match all.get(at) {
        Some(TokenTree::Ident(word)) => Some(word.to_string()),
        _ => None,
    }
}

fn is_punct(token: Option<&TokenTree>, what: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == what)
}

fn is_group(token: Option<&TokenTree>, what: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(g)) if g.delimiter() == what)
}

fn is_colons(all: &[TokenTree], at: usize) -> bool {
    is_punct(all.get(at), ':') && is_punct(all.get(at + 1), ':')
}

/// Whether `#[cfg(test)]` stands here.
fn is_test(all: &[TokenTree], at: usize) -> bool {
    let TokenTree::Punct(p) = &all[at] else { return false };
    let Some(TokenTree::Group(g)) = all.get(at + 1) else { return false };
    p.as_char() == '#' && g.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Where the item ends that begins at `at`, maybe with more attributes.
fn after_item(all: &[TokenTree], mut at: usize) -> usize {
    let plain = (at..all.len()).filter_map(|i| word(all, i)).find(|w| w != "pub").unwrap_or_default();
    let to_semicolon = ["use", "const", "static", "type"].contains(&plain.as_str());
    while at < all.len() {
        let body = is_group(all.get(at), Delimiter::Brace) && !to_semicolon;
        if body || is_punct(all.get(at), ';') {
            return at + 1;
        }
        at += 1;
    }
    at
}
