//! `mlaan predict`: classes of images.

use crate::args::PredictArgs;
use crate::export::last;
use crate::memory::Planned;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::predict::{Classified, Predictor, find, top};
use mlaan::text::{self, csv};
use mlaan::train::Trained;
use serde_json::json;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest list of paths on standard input: about four million.
const MAX_LIST: u64 = 256 << 20;
/// Longest path in it; longer is none of any system.
const MAX_PATH: u64 = 64 << 10;

/// Classifies images.
///
/// # Errors
/// A checkpoint that cannot be used; files that are no images (after all others were classified).
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let mut trained = Trained::open(&args.checkpoint, args.best)?;
    if let Some(turning) = args.orientation {
        trained.recipe.data.orientation = turning.into();
    }
    let (paths, notes) = find(&listed(&args.images)?)?;
    if paths.is_empty() {
        bail!("there is no image to classify: standard input named none");
    }
    let device = args.machine.open()?.with_precision(trained.recipe.train.precision.into());
    let memory = Planned::begin(Predictor::plan(&trained, &device, &paths, args.batch)?, &device)?;
    let mut predictor = Predictor::new(&trained, &device)?;
    notes.lines().iter().for_each(|line| output::note(&format!("note: {line}")));
    let (count, classes) = (paths.len(), predictor.classes().to_vec());
    if args.csv {
        output::exact("image,rank,class,probability")?;
    }
    let (mut broken, mut sideways, mut said) = (0, Sideways::default(), Ok(()));
    predictor.files(paths, args.batch, &mut |image| {
        broken += usize::from(image.probabilities.is_err());
        sideways.add(&image);
        said = tell(args, &classes, &image);
        if said.is_err() || output::is_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    said?;
    if args.orientation.is_none() && !output::is_gone() {
        sideways.tell(count);
    }
    // Beside the answers, which may be read line by line.
    if !args.output.json && !args.csv && !output::is_gone() && broken < count {
        let epoch = trained.manifest.epoch;
        let network = last(&trained.manifest, args.best)
            .map_or_else(String::new, |said| format!("; the network is that of epoch {epoch}, {said}"));
        output::note(&format!("peak memory {}{network}", memory.text()));
    }
    match broken {
        _ if output::is_gone() => Ok(ExitCode::SUCCESS),
        0 => Ok(ExitCode::SUCCESS),
        n => bail!("{n} of {} could not be read", format::several(count, "file")),
    }
}

/// Images whose orientation was ignored.
#[derive(Default)]
struct Sideways {
    count: usize,
    first: String,
}

impl Sideways {
    fn add(&mut self, image: &Classified<'_>) {
        if image.orientation_ignored && self.count == 0 {
            self.first = text::path(image.path);
        }
        self.count += usize::from(image.orientation_ignored);
    }

    /// Says so once, of all of `files`.
    fn tell(&self, files: usize) {
        if self.count > 0 {
            output::note(&format!(
                "note: the EXIF orientation of {} of {} was not followed, since it was not in this network's training: {}{}. \
                 --orientation exif turns them upright, --orientation ignore leaves out this note",
                self.count,
                format::several(files, "file"),
                self.first,
                if self.count > 1 { ", ..." } else { "" }
            ));
        }
    }
}

/// The paths that are named, with those of standard input in place of `-`.
fn listed(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in named {
        if path != Path::new("-") {
            paths.push(path.clone());
            continue;
        }
        read_list(&mut std::io::stdin().lock(), &mut paths).context("standard input is no list of paths")?;
    }
    Ok(paths)
}

/// The paths of a list: one a line, or ended by zeros (`find -print0`) where there are any.
fn read_list(input: &mut dyn Read, paths: &mut Vec<PathBuf>) -> Result<()> {
    let mut list = Vec::new();
    input.take(MAX_LIST + 1).read_to_end(&mut list)?;
    if list.len() as u64 > MAX_LIST {
        bail!("it is longer than {} MiB", MAX_LIST >> 20);
    }
    let end = if list.contains(&0) { 0 } else { b'\n' };
    for (line, number) in list.split(|b| *b == end).zip(1..) {
        let path = match line {
            [rest @ .., b'\r'] if end == b'\n' => rest,
            whole => whole,
        };
        if path.len() as u64 > MAX_PATH {
            bail!("line {number} is longer than {} KiB", MAX_PATH >> 10);
        }
        if !path.is_empty() {
            paths.push(path_of(path.to_vec()));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn tell(args: &PredictArgs, classes: &[String], image: &Classified<'_>) -> Result<()> {
    let path = || text::path(image.path);
    let probabilities = match &image.probabilities {
        Ok(probabilities) => probabilities,
        Err(message) if args.output.json => {
            let told = json!({"image": text::exact_path(image.path), "error": message});
            return output::json_line(&told.to_string());
        }
        Err(message) => {
            output::note(&format!("{}: {message}", path()));
            return Ok(());
        }
    };
    let best = top(probabilities, args.top);
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    if args.output.json {
        let rows: Vec<_> = best.iter().map(|(c, p)| json!({"class": name(*c), "probability": p})).collect();
        let told = json!({"image": text::exact_path(image.path), "classes": rows});
        return output::json_line(&told.to_string());
    }
    if args.csv {
        let path = csv::text(&text::exact_path(image.path));
        for (rank, (class, p)) in best.iter().enumerate() {
            let cells = [path.clone(), (rank + 1).to_string(), csv::text(name(*class)), p.to_string()];
            output::exact(&csv::record(cells))?;
        }
        return Ok(());
    }
    let name = |class: usize| text::line(name(class));
    let percent = |p: f32| format::percent(f64::from(p) * 100.0);
    if let [(class, p)] = best.as_slice() {
        return output::row(&format!("{}  {}  {}", path(), name(*class), percent(*p)));
    }
    output::row(&path())?;
    let width = best.iter().map(|(c, _)| name(*c).chars().count()).max().unwrap_or(0);
    for (class, p) in best {
        output::row(&format!("  {:<width$}  {:>8}", name(class), percent(p)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut input: &mut dyn Read) -> std::result::Result<Vec<PathBuf>, String> {
        let mut paths = Vec::new();
        read_list(&mut input, &mut paths).map(|()| paths).map_err(|e| e.to_string())
    }

    #[test]
    fn lists_end_and_so_do_their_lines() {
        let line = [&[b'x'; 65535][..], b"\n"].concat();
        assert_eq!(read(&mut &*line).unwrap().len(), 1);
        let line = [&[b'a', b'\n'][..], &[b'x'; 65537]].concat();
        assert_eq!(read(&mut &*line).unwrap_err(), "line 2 is longer than 64 KiB");
        assert_eq!(read(&mut std::io::repeat(b'x')).unwrap_err(), "it is longer than 256 MiB");
    }

    #[test]
    fn lists_have_a_path_a_line_whatever_its_bytes() {
        let paths = |mut list: &[u8]| read(&mut list).unwrap().iter().map(text::path).collect::<Vec<_>>();
        assert_eq!(paths(b"a.jpg\r\n\nb c.jpg \n"), ["a.jpg", "b c.jpg "]);
        assert_eq!(paths(b"a\nb\0c\0"), [r"a\u{a}b", "c"]);
        #[cfg(unix)]
        assert_eq!(paths(b"\xff.jpg\n"), [r"\xff.jpg"]);
    }
}
