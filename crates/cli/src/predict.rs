//! `mlaan predict`: classes of images.

use crate::args::PredictArgs;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::predict::{Classified, Predictor, find, top};
use mlaan::text::{self, csv};
use mlaan::train::Trained;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Longest list of paths on standard input.
const MAX_LIST: u64 = 1 << 30;

/// Classifies images.
///
/// # Errors
/// A checkpoint that cannot be used; files that are no images (after all others were classified).
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let mut trained = Trained::open(&args.checkpoint, args.best)?;
    let paths = find(&listed(&args.images)?)?;
    if paths.is_empty() {
        bail!("there is no image to classify: standard input named none");
    }
    let device = args.device.open(args.threads)?.with_precision(trained.recipe.train.precision.into());
    let mut predictor = Predictor::new(&mut trained, &device)?;
    let (count, classes) = (paths.len(), predictor.classes().to_vec());
    if args.csv {
        output::line("image,rank,class,probability");
    }
    let mut broken = 0;
    predictor.files(paths, args.batch, &mut |image| {
        broken += usize::from(image.probabilities.is_err());
        tell(args, &classes, &image);
    })?;
    match broken {
        0 => Ok(ExitCode::SUCCESS),
        n => bail!("{n} of {} could not be read", format::several(count, "file")),
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
        let mut list = Vec::new();
        let input = std::io::stdin().lock().take(MAX_LIST).read_to_end(&mut list);
        input.context("standard input is no list of paths")?;
        paths.extend(lines(&list));
    }
    Ok(paths)
}

/// The paths of a list: one a line, or ended by zeros (`find -print0`) where there are any.
fn lines(list: &[u8]) -> impl Iterator<Item = PathBuf> {
    let end = if list.contains(&0) { 0 } else { b'\n' };
    let own = move |line: &'_ [u8]| match line {
        [rest @ .., b'\r'] if end == b'\n' => rest.to_vec(),
        whole => whole.to_vec(),
    };
    list.split(move |b| *b == end).map(own).filter(|l| !l.is_empty()).map(path_of)
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

fn tell(args: &PredictArgs, classes: &[String], image: &Classified<'_>) {
    let path = || text::path(image.path);
    let probabilities = match &image.probabilities {
        Ok(probabilities) => probabilities,
        Err(message) if args.json => {
            let told = json!({"image": text::exact_path(image.path), "error": message});
            return output::json_line(&told.to_string());
        }
        Err(message) => return output::note(&format!("{}: {message}", path())),
    };
    let best = top(probabilities, args.top);
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    if args.json {
        let rows: Vec<_> = best.iter().map(|(c, p)| json!({"class": name(*c), "probability": p})).collect();
        let told = json!({"image": text::exact_path(image.path), "classes": rows});
        return output::json_line(&told.to_string());
    }
    if args.csv {
        let path = csv::text(&text::exact_path(image.path));
        for (rank, (class, p)) in best.iter().enumerate() {
            let cells = [path.clone(), (rank + 1).to_string(), csv::text(name(*class)), p.to_string()];
            output::line(&csv::record(cells));
        }
        return;
    }
    let name = |class: usize| text::line(name(class));
    let percent = |p: f32| format::percent(f64::from(p) * 100.0);
    if let [(class, p)] = best.as_slice() {
        return output::line(&format!("{}  {}  {}", path(), name(*class), percent(*p)));
    }
    output::line(&path());
    let width = best.iter().map(|(c, _)| name(*c).chars().count()).max().unwrap_or(0);
    for (class, p) in best {
        output::line(&format!("  {:<width$}  {:>8}", name(class), percent(p)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_a_path_a_line_whatever_its_bytes() {
        let paths = |list: &[u8]| lines(list).map(mlaan::text::path).collect::<Vec<_>>();
        assert_eq!(paths(b"a.jpg\r\n\nb c.jpg \n"), ["a.jpg", "b c.jpg "]);
        assert_eq!(paths(b"a\nb\0c\0"), [r"a\u{a}b", "c"]);
        #[cfg(unix)]
        assert_eq!(paths(b"\xff.jpg\n"), [r"\xff.jpg"]);
    }
}
