//! `mlaan predict`: classes of images.

use crate::args::PredictArgs;
use crate::memory::Planned;
use crate::{format, output};
use anyhow::{Context, Result, bail};
use mlaan::predict::{Classified, Predictor, find, top};
use mlaan::train::Trained;
use serde_json::json;
use std::io::{BufRead, Read};
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
    let trained = Trained::open(&args.checkpoint, args.best)?;
    let (paths, notes) = find(&listed(&args.images)?)?;
    if paths.is_empty() {
        bail!("there is no image to classify: standard input named none");
    }
    let device = args.device.open(args.threads)?.with_precision(trained.recipe.train.precision.into());
    let memory = Planned::begin(Predictor::plan(&trained, &device, &paths, args.batch)?, &device)?;
    let mut predictor = Predictor::new(&trained, &device)?;
    notes.lines().iter().for_each(|line| output::note(&format!("note: {line}")));
    let (count, classes) = (paths.len(), predictor.classes().to_vec());
    if args.csv {
        output::row("image,rank,class,probability")?;
    }
    let (mut broken, mut said) = (0, Ok(()));
    predictor.files(paths, args.batch, &mut |image| {
        broken += usize::from(image.probabilities.is_err());
        said = tell(args, &classes, &image);
        if said.is_err() || output::is_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    said?;
    if !args.json && !args.csv && !output::is_gone() {
        output::page(&format!("\npeak memory {}", memory.text()))?;
    }
    match broken {
        _ if output::is_gone() => Ok(ExitCode::SUCCESS),
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
        read_list(&mut std::io::stdin().lock(), &mut paths).context("standard input is no list of paths")?;
    }
    Ok(paths)
}

/// One path a line.
fn read_list(input: &mut dyn BufRead, paths: &mut Vec<PathBuf>) -> Result<()> {
    let mut read = 0;
    for number in 1.. {
        let mut line = String::new();
        let length =
            input.take(MAX_PATH + 1).read_line(&mut line).with_context(|| format!("line {number}"))?;
        if length == 0 {
            break;
        }
        if length as u64 > MAX_PATH {
            bail!("line {number} is longer than {} KiB", MAX_PATH >> 10);
        }
        read += length as u64;
        if read > MAX_LIST {
            bail!("it is longer than {} MiB", MAX_LIST >> 20);
        }
        if !line.trim_end().is_empty() {
            paths.push(PathBuf::from(line.trim_end()));
        }
    }
    Ok(())
}

fn tell(args: &PredictArgs, classes: &[String], image: &Classified<'_>) -> Result<()> {
    let path = image.path.display().to_string();
    let probabilities = match &image.probabilities {
        Ok(probabilities) => probabilities,
        Err(message) if args.json => {
            return output::row(&json!({"image": path, "error": message}).to_string());
        }
        Err(message) => {
            output::note(&format!("{path}: {message}"));
            return Ok(());
        }
    };
    let best = top(probabilities, args.top);
    let name = |class: usize| classes.get(class).map_or("", String::as_str);
    if args.json {
        let rows: Vec<_> = best.iter().map(|(c, p)| json!({"class": name(*c), "probability": p})).collect();
        return output::row(&json!({"image": path, "classes": rows}).to_string());
    }
    if args.csv {
        for (rank, (class, p)) in best.iter().enumerate() {
            output::row(&format!("{},{},{},{p}", quoted(&path), rank + 1, quoted(name(*class))))?;
        }
        return Ok(());
    }
    let percent = |p: f32| format::percent(f64::from(p) * 100.0);
    if let [(class, p)] = best.as_slice() {
        return output::row(&format!("{path}  {}  {}", name(*class), percent(*p)));
    }
    output::row(&path)?;
    let width = best.iter().map(|(c, _)| name(*c).chars().count()).max().unwrap_or(0);
    for (class, p) in best {
        output::row(&format!("  {:<width$}  {:>8}", name(class), percent(p)))?;
    }
    Ok(())
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
    use std::io::BufReader;

    #[test]
    fn lists_end_and_so_do_their_lines() {
        let read = |mut input: &mut dyn BufRead| {
            let mut paths = Vec::new();
            read_list(&mut input, &mut paths).map(|()| paths).map_err(|e| e.to_string())
        };
        let paths = read(&mut "a b.png \r\n\nc/d.png".as_bytes()).unwrap();
        assert_eq!(paths, ["a b.png", "c/d.png"].map(PathBuf::from));
        let line = [&[b'x'; 65535][..], b"\n"].concat();
        assert_eq!(read(&mut &*line).unwrap().len(), 1);
        let said = read(&mut BufReader::new(std::io::repeat(b'x'))).unwrap_err();
        assert_eq!(said, "line 1 is longer than 64 KiB");
        let pattern = [&[b' '; 1023][..], b"\n"].concat();
        struct Endless(Vec<u8>);
        impl Read for Endless {
            fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
                let n = self.0.len().min(bytes.len());
                bytes[..n].copy_from_slice(&self.0[..n]);
                Ok(n)
            }
        }
        let mut endless = BufReader::with_capacity(1 << 16, Endless(pattern));
        assert_eq!(read(&mut endless).unwrap_err(), "it is longer than 256 MiB");
        assert!(read(&mut &b"a\n\xff\n"[..]).unwrap_err().contains("line 2"));
    }

    #[test]
    fn fields_with_commas_or_quotes_are_quoted() {
        assert_eq!(quoted("a b.jpg"), "a b.jpg");
        assert_eq!(quoted("a,\"b\".jpg"), "\"a,\"\"b\"\".jpg\"");
    }
}
