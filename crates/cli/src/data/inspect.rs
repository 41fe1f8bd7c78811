//! `mlaan data inspect`

use crate::args::InspectArgs;
use crate::device::room_to_begin;
use crate::{format, held_out, output};
use anyhow::{Context, Result};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use mlaan::auto_recipe::TEST;
use mlaan::data::inspect::{Inspection, Sizes, SplitInspection, inspect_with};
use mlaan::data::{Normalise, OpenOptions, Orientation};
use mlaan::text;
use std::process::ExitCode;

/// Classes in the table unless all are asked for.
const ROWS: usize = 20;

/// Says what lies at a path.
///
/// # Errors
/// When nothing known is there.
pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    room_to_begin(args.processor.threads)?;
    let threads = args.processor.threads.unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.context("no threads to decode with")?;
    let bar = (!args.output.json && Term::stderr().is_term()).then(bar);
    let inspected = |test| {
        let options = OpenOptions { validation: args.validation, test, ..OpenOptions::default() };
        pool.install(|| {
            inspect_with(&args.path, &options, &mut |seen, all| {
                if let Some(bar) = &bar {
                    bar.set_length(all as u64);
                    bar.set_position(seen as u64);
                }
            })
        })
    };
    let found = match inspected(args.test) {
        Err(mlaan::Error::NoTestImages { .. }) if args.test.is_none() => {
            inspected(Some(TEST)).inspect(|_| {
                output::note(&format!("note: {} (--test sets another fraction)", held_out::note()));
            })
        }
        found => found,
    };
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let found = found?;
    match args.output.json {
        true => output::json(&serde_json::to_value(&found)?)?,
        false => output::page(&told(&found, args.all))?,
    }
    let broken = splits(&found).map(|(_, split)| split.broken).sum::<usize>();
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The splits and what they are called.
fn splits(found: &Inspection) -> impl Iterator<Item = (&'static str, &SplitInspection)> {
    let validation = found.validation.as_ref().map(|split| ("validation", split));
    [("training", &found.train)].into_iter().chain(validation).chain([("test", &found.test)])
}

/// Shown on a terminal while a large set is looked at.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} images, {eta} left");
    let bar = ProgressBar::no_length();
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn told(found: &Inspection, all: bool) -> String {
    let mut lines = vec![format!("{}: {}\n", format::heading(&found.name), found.format)];
    let row = |what: &str, text: String| format!(" {what:<10}  {text}");
    for (what, split) in splits(found) {
        lines.push(row(what, split_line(split)));
        lines.extend(turned_line(split.turned, found.orientation).map(|line| row("", line)));
        if let Some(pixels) = &split.pixels {
            lines.push(row("", pixel_line(pixels)));
        }
    }
    let decoded = format::bytes(found.decoded_bytes());
    lines.push(row("decoded", format!("{decoded} at the images' own size")));
    for (at, note) in found.notes.lines().iter().enumerate() {
        lines.push(row(if at == 0 { "notes" } else { "" }, note.clone()));
    }
    lines.push(row("problems", problems(found, all)));
    lines.push(format!("\n{}", classes(found, all)));
    lines.join("\n")
}

fn split_line(split: &SplitInspection) -> String {
    let mut parts = vec![format::several(split.images, "image")];
    parts.extend(split.sizes.as_ref().map(size));
    if split.broken > 0 {
        parts.push(format!("{} broken", format::count(split.broken)));
    }
    if split.repeated > 0 {
        parts.push(format!("{} there more than once", format::count(split.repeated)));
    }
    format!("{} ({})", parts.join(", "), text::line(&split.place))
}

/// Of pictures that their EXIF orientation says to turn.
fn turned_line(turned: usize, orientation: Orientation) -> Option<String> {
    let count = match turned {
        0 => return None,
        n => format::several(n, "image"),
    };
    Some(match orientation {
        Orientation::Ignore => {
            format!(
                "the EXIF orientation of {count} is ignored, as everybody reads this set (data.orientation)"
            )
        }
        _ => format!("the EXIF orientation of {count} is applied (data.orientation)"),
    })
}

fn size(sizes: &Sizes) -> String {
    let one = |[height, width]: [usize; 2]| format!("{width}x{height}");
    match sizes.least == sizes.most {
        true => format!("all {}", one(sizes.least)),
        false => {
            let (least, median, most) = (one(sizes.least), one(sizes.median), one(sizes.most));
            format!("{least} to {most}, median {median}")
        }
    }
}

fn pixel_line(pixels: &Normalise) -> String {
    let list = |values: [f32; 3]| values.map(|v| format!("{v:.4}")).join(" ");
    format!("mean {}, std {} (red, green, blue; pixels from 0 to 1)", list(pixels.mean), list(pixels.std))
}

fn problems(found: &Inspection, all: bool) -> String {
    let Some(first) = found.problems.first() else {
        return "none found".into();
    };
    let shown = if all { &found.problems[..] } else { std::slice::from_ref(first) };
    let more = match found.problem_count - shown.len() {
        0 => String::new(),
        n if all => format!("\n{:13}and {} more", "", format::count(n)),
        n => format!("\n{:13}and {} more; --all shows them", "", format::count(n)),
    };
    let shown: Vec<_> = shown.iter().map(|problem| text::line(problem)).collect();
    format!("{}{more}", shown.join(&format!("\n{:13}", "")))
}

fn classes(found: &Inspection, all: bool) -> String {
    let header: Vec<String> = splits(found).map(|(what, _)| format!(">{what}")).collect();
    let header: Vec<&str> = ["class"].into_iter().chain(header.iter().map(String::as_str)).collect();
    let mut table = format::table(&header);
    let rows = if all { found.classes.len() } else { ROWS };
    for (at, class) in found.classes.iter().enumerate().take(rows) {
        let count =
            |split: &SplitInspection| split.per_class.get(at).map_or_else(String::new, |n| format::count(*n));
        table.add_row([class.clone()].into_iter().chain(splits(found).map(|(_, split)| count(split))));
    }
    let table = format::text(&table);
    match found.classes.len().saturating_sub(rows) {
        0 => table,
        n => format!("{table}\n … {n} more; --all shows them"),
    }
}
