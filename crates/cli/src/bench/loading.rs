//! `mlaan bench --data`: how fast images reach the network.

use crate::format;
use mlaan::bench::Loading;
use mlaan::recipe::Recipe;
use serde_json::json;

/// For machines.
pub fn json(name: &str, recipe: &Recipe, l: &Loading) -> serde_json::Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "recipe": name,
        "data": l.name,
        "images": l.images,
        "size": recipe.data.size,
        "batch": l.batch,
        "load": if l.streamed { "stream" } else { "memory" },
        "device": l.device,
        "threads": l.threads,
        "opening_seconds": l.opening,
        "rounds": l.rounds,
        "seconds": l.seconds(),
        "images_per_second": l.images_per_second(),
        "bytes": l.bytes,
    })
}

/// For people.
pub fn text(name: &str, recipe: &Recipe, l: &Loading) -> String {
    let side = recipe.data.size;
    let from = if l.streamed { "decoded each time" } else { "decoded in memory" };
    let rows = [
        ("speed", format!("{} images/s", format::heading(&format::digits(l.images_per_second())))),
        (
            "epoch",
            format!(
                "{} s, median of {}",
                format::digits(l.seconds()),
                format::several(l.rounds.len(), "round")
            ),
        ),
        ("opening", format!("{} s", format::digits(l.opening))),
        ("memory", format!("{} for batches and decoding", format::bytes(l.bytes as u64))),
    ];
    let rows: Vec<String> = rows.iter().map(|(what, text)| format!(" {what:<10}  {text}")).collect();
    format!(
        "{}: {} of {}, {from}, to {side}x{side}, {} a batch, {}\n\n{}\n",
        format::heading(name),
        format::several(l.images, "image"),
        mlaan::text::line(&l.name),
        l.batch,
        format::several(l.threads, "thread"),
        rows.join("\n")
    )
}
