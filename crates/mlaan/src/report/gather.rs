//! Finds what folders hold.

use super::runs::{Group, Run};
use crate::analyze::{Analysis, FILE as ANALYSIS};
use crate::audit::Audit;
use crate::compare::{COMPARISON, Comparison, RESULTS, Record};
use crate::evaluation::Evaluated;
use crate::files::{self, Visited};
use crate::train::metrics::METRICS;
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Folders within folders that are looked into.
const DEEPEST: usize = 6;
/// Bytes of the pictures of an analysis at the most.
const MOST_PICTURES: usize = 256 << 20;

/// A comparison and its runs.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Its tables.
    pub found: Comparison,
    /// The runs of its cells, in their order.
    pub groups: Vec<Group>,
    /// Its folder.
    pub folder: String,
}

/// An analysis and its pictures.
#[derive(Clone, Debug)]
pub struct Analysed {
    /// Its numbers.
    pub found: Analysis,
    /// PNG files of feature maps, in the order of its list.
    pub pictures: Vec<Vec<u8>>,
    /// Its folder.
    pub folder: String,
}

/// Memory measured beside PyTorch: one entry of `bench/compare.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Recipe, batch, precision.
    pub name: String,
    /// What was measured, and bytes.
    pub bytes: Vec<(String, u64)>,
    /// Where and when.
    pub machine: String,
}

/// See [`super`].
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Tables of experiments.
    pub comparisons: Vec<Compared>,
    /// Runs of their own.
    pub groups: Vec<Group>,
    /// Analyses.
    pub analyses: Vec<Analysed>,
    /// Locality audits, with the names of their folders.
    pub audits: Vec<(String, Audit)>,
    /// Memory beside PyTorch.
    pub measured: Vec<Measured>,
}

impl Material {
    /// What `paths` hold: folders of runs, of comparisons and of analyses, or folders of these, and JSON files of
    /// `bench/compare.py`.
    ///
    /// # Errors
    /// [`Error::Data`] for a path that holds nothing of this kind; what cannot be read.
    pub fn gather(paths: &[PathBuf]) -> Result<Self> {
        let (mut material, mut visited) = (Material::default(), Visited::default());
        for path in paths {
            let before = material.count();
            match path.is_dir() {
                false if !path.exists() => {
                    let message = "there is no such file or folder";
                    return Err(Error::data(path.display().to_string(), message));
                }
                false => material.measured.extend(measured(path)?),
                // What another path has brought in already is not brought in again.
                true if !visited.clone().is_new(path).map_err(Error::io(path))? => continue,
                true => material.folder(path, DEEPEST, &mut visited)?,
            }
            if material.count() == before {
                let message = "holds no run (metrics.jsonl), no comparison (compare.json), no analysis (analysis.json) and no audit (audit.json)";
                return Err(Error::data(path.display().to_string(), message));
            }
        }
        Ok(material)
    }

    /// All groups of runs, those of comparisons first.
    pub fn all_groups(&self) -> impl Iterator<Item = &Group> {
        self.comparisons.iter().flat_map(|c| &c.groups).chain(&self.groups)
    }

    fn count(&self) -> usize {
        let runs: usize = self.groups.iter().map(|g| g.runs.len()).sum();
        self.comparisons.len() + runs + self.analyses.len() + self.audits.len() + self.measured.len()
    }

    fn folder(&mut self, folder: &Path, deeper: usize, visited: &mut Visited) -> Result<()> {
        if !visited.is_new(folder).map_err(Error::io(folder))? {
            return Ok(());
        }
        if folder.join(ANALYSIS).exists() {
            self.analyses.push(analysed(folder)?);
        }
        self.audits.extend(Audit::read(folder)?.map(|found| (name(folder).0, found)));
        let compared = folder.join(COMPARISON).exists();
        if compared {
            self.comparisons.push(Compared::read(folder)?);
        } else if folder.join(METRICS).exists() {
            let (name, run) = (name(folder), Run::read(folder)?);
            match self.groups.iter_mut().find(|g| g.name == name.0 && name.1) {
                Some(group) => group.runs.push(run),
                None => self.groups.push(Group { name: name.0, runs: vec![run] }),
            }
        }
        if deeper == 0 {
            return Ok(());
        }
        for inner in folders(folder)? {
            // The runs of a comparison are its own; analyses of them may lie beside them.
            match compared {
                true => self.analyses_in(&inner, deeper - 1, visited)?,
                false => self.folder(&inner, deeper - 1, visited)?,
            }
        }
        Ok(())
    }

    fn analyses_in(&mut self, folder: &Path, deeper: usize, visited: &mut Visited) -> Result<()> {
        if !visited.is_new(folder).map_err(Error::io(folder))? {
            return Ok(());
        }
        if folder.join(ANALYSIS).exists() {
            self.analyses.push(analysed(folder)?);
        }
        if deeper > 0 {
            folders(folder)?.iter().try_for_each(|inner| self.analyses_in(inner, deeper - 1, visited))?;
        }
        Ok(())
    }
}

impl Compared {
    fn read(folder: &Path) -> Result<Self> {
        let found = Comparison::read(folder)?;
        let mut groups = Vec::new();
        for cell in &found.cells {
            let mut runs = Vec::new();
            for run in &cell.runs {
                let record = folder.join(RESULTS).join(&cell.name).join(format!("seed-{}.json", run.seed));
                let own = folder.join(&cell.name).join(format!("seed-{}", run.seed));
                if record.exists() {
                    // The record is what counts; the run's folder may be gone.
                    let evaluated = Evaluated::read(&own)?;
                    let of_record = Run::of(Record::read(&record)?, record.display().to_string());
                    runs.push(Run { evaluated, ..of_record });
                } else if own.join(METRICS).exists() {
                    runs.push(Run::read(&own)?);
                }
            }
            groups.push(Group { name: cell.name.clone(), runs });
        }
        Ok(Compared { found, groups, folder: folder.display().to_string() })
    }
}

fn analysed(folder: &Path) -> Result<Analysed> {
    let found = Analysis::read(&folder.join(ANALYSIS))?;
    // A name of another folder would bring files into the page that nobody asked for.
    let inside = |file: &str| Path::new(file).file_name().map(|name| folder.join(name));
    let mut left = MOST_PICTURES;
    let mut pictures = Vec::new();
    for file in found.features.iter().map(|f| inside(&f.file)) {
        let bytes = file.map_or(Ok(Vec::new()), |path| files::read(&path, files::PICTURE))?;
        left = left.checked_sub(bytes.len()).ok_or_else(|| {
            let message =
                format!("its pictures have more than {} MiB, too many for a page", MOST_PICTURES >> 20);
            Error::data(folder.display().to_string(), message)
        })?;
        pictures.push(bytes);
    }
    Ok(Analysed { pictures, folder: folder.display().to_string(), found })
}

/// What a run is called, and whether its folder's name is a seed's, so that its parent's names it.
fn name(folder: &Path) -> (String, bool) {
    let last = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    // `.` and the like have a name only when they are spelt out.
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let own = last(&whole).unwrap_or_else(|| "run".into());
    let is_seed = own.strip_prefix("seed-").is_some_and(|n| n.parse::<u64>().is_ok());
    match whole.parent().and_then(last) {
        Some(parent) if is_seed => (parent, true),
        _ => (own, false),
    }
}

/// Folders in a folder, by name, but for hidden ones.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(_) if !folder.exists() => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder)(e)),
    };
    let hidden = |path: &Path| path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
    // A link could lead round in circles.
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| e.ok())
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .filter(|p| !hidden(p))
        .collect();
    found.sort_by_key(|path| by_number(path));
    Ok(found)
}

/// So that seed-10 comes after seed-9.
fn by_number(path: &Path) -> (String, String) {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (head, number) = name.split_at(name.len() - digits);
    (head.to_owned(), format!("{number:0>20}"))
}

/// Memory in a file of `bench/compare.py`; nothing in another one.
fn measured(path: &Path) -> Result<Vec<Measured>> {
    let wrong = |e: serde_json::Error| Error::data(path.display().to_string(), format!("is not JSON ({e})"));
    let json: Value = serde_json::from_slice(&files::read(path, files::PICTURE)?).map_err(wrong)?;
    let machine = json["machine"]["text"].as_str().unwrap_or_default().to_owned();
    let entries = json["memory"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or("?").to_owned();
        let name = format!("{}, batch {}, {}", text("recipe"), entry["batch"], text("precision"));
        let mut found = Vec::new();
        let mut add = |what: &str, value: &Value| found.extend(value.as_u64().map(|b| (what.to_owned(), b)));
        for (prefix, ours) in [("mlaan", &entry["mlaan"]), ("mlaan, recomputed", &entry["recomputed"])] {
            add(&format!("{prefix}, planned"), &ours["planned_bytes"]);
            add(&format!("{prefix}, the process"), &ours["resident_bytes"]);
        }
        for (what, value) in entry["pytorch"].as_object().into_iter().flatten() {
            add(&format!("PyTorch, {what}"), value);
        }
        Measured { name, bytes: found, machine: machine.clone() }
    };
    Ok(entries.iter().map(one).filter(|m| !m.bytes.is_empty()).collect())
}
