//! `mlaan predict`: classes of images.

use crate::args::PredictArgs;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::predict::{Classified, Predictor, find, top};
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
    let (paths, notes) = find(&listed(&args.images)?)?;
    if paths.is_empty() {
        bail!("there is no image to classify: standard input named none");
    }
    let device = args.device.open(args.threads)?.with_precision(trained.recipe.train.precision.into());
    let mut predictor = Predictor::new(&mut trained, &device)?;
    notes.lines().iter().for_each(|line| output::note(&format!("note: {line}")));
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
        let mut text = String::new();
        let input = std::io::stdin().lock().take(MAX_LIST).read_to_string(&mut text);
        input.context("standard input is no list of paths")?;
        paths.extend(text.lines().map(str::trim_end).filter(|l| !l.is_empty()).map(PathBuf::from));
    }
    Ok(paths)
}

fn tell(args: &PredictArgs, classes: &[String], image: &Classified<'_>) {
    let path = image.path.display().to_string();
    let probabilities = match &image.probabilities {
        Ok(probabilities) => probabilities,
        Err(message) if args.json => {
            return output::line(&json!({"image": path, "error": message}).to_string());
        }
        Err(message) => return output::note(&format!("{path}: {message}")),
    };
    let best = top(probabilities, args.top);
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    if args.json {
        let rows: Vec<_> = best.iter().map(|(c, p)| json!({"class": name(*c), "probability": p})).collect();
        return output::line(&json!({"image": path, "classes": rows}).to_string());
    }
    if args.csv {
        for (rank, (class, p)) in best.iter().enumerate() {
            output::line(&format!("{},{},{},{p}", quoted(&path), rank + 1, quoted(name(*class))));
        }
        return;
    }
    let percent = |p: f32| format::percent(f64::from(p) * 100.0);
    if let [(class, p)] = best.as_slice() {
        return output::line(&format!("{path}  {}  {}", name(*class), percent(*p)));
    }
    output::line(&path);
    let width = best.iter().map(|(c, _)| name(*c).chars().count()).max().unwrap_or(0);
    for (class, p) in best {
        output::line(&format!("  {:<width$}  {:>8}", name(class), percent(p)));
    }
}

/// A field of CSV (RFC 4180).
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_or_quotes_are_quoted() {
        assert_eq!(quoted("a b.jpg"), "a b.jpg");
        assert_eq!(quoted("a,\"b\".jpg"), "\"a,\"\"b\"\".jpg\"");
    }
}
