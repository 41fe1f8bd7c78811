//! What a plan comes to, beside backpropagation and backpropagation with recomputation.

use super::pair::Pair;
use crate::{format, modules};
use mlaan::plan::{BUSES, Plan, RATE};
use mlaan_engine::MemoryCategory;

/// The table, and what it says.
pub fn text(pair: &Pair) -> String {
    format!("{}\n\n{}{}", table(pair), verdict(pair), transfers(pair))
}

/// The recipe, BP and BP with recomputation; where the recipe is BP itself, it is not compared with itself.
fn table(pair: &Pair) -> String {
    let is_bp = is_bp(pair);
    let shown = move |row: [String; 6]| {
        row.into_iter()
            .enumerate()
            .filter_map(move |(i, cell)| (!is_bp || !(2..4).contains(&i)).then_some(cell))
    };
    let header = ["", ">this recipe", ">BP", ">× BP", ">BP recomputed", ">× recomputed"].map(String::from);
    let header: Vec<String> = shown(header).collect();
    let mut table = format::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    let plans = [&pair.local, &pair.plain, &pair.rival];
    let mut row = |what: &str, of: &dyn Fn(&Plan) -> u64, written: &dyn Fn(u64) -> String| {
        let [own, plain, rival] = plans.map(of);
        let (first, second) = (format::ratio(own, plain), format::ratio(own, rival));
        table.add_row(shown([what.into(), written(own), written(plain), first, written(rival), second]));
    };
    for (i, category) in MemoryCategory::ALL.iter().enumerate() {
        let at_peak = |p: &Plan| p.usage.peak_by_category.get(i).copied().unwrap_or(0) as u64;
        row(&format!("{} at peak", named(*category)), &at_peak, &format::bytes);
    }
    row("tensors and batches", &|p| p.allocated() as u64, &format::bytes);
    if pair.local.process > 0 {
        row("peak of the process", &|p| p.memory() as u64, &format::bytes);
    }
    if pair.local.moved() > 0 {
        row("host, pinned", &|p| p.host() as u64, &format::bytes);
        row("copied each way a step", &|p| p.moved() as u64, &format::bytes);
    }
    row("GFLOP of a step", &|p| p.flops, &format::giga);
    let [own, plain, rival] = plans.map(|p| modules::short(p.auxiliary_parameters()));
    table.add_row(shown(["auxiliary parameters".into(), own, plain, "–".into(), rival, "–".into()]));
    format::text(&table)
}

/// A category in torch's spelling; files have the engine's.
fn named(category: MemoryCategory) -> &'static str {
    match category {
        MemoryCategory::Optimiser => "optimizer",
        other => other.name(),
    }
}

/// Whether the recipe is what it would be compared with.
fn is_bp(pair: &Pair) -> bool {
    pair.local.modules.len() < 2 && pair.local.usage == pair.plain.usage
}

/// How the recipe stands to its honest rival.
fn verdict(pair: &Pair) -> String {
    let recomputed = "recomputed: BP (backpropagation) with local.recompute=module.";
    if pair.local.modules.len() < 2 {
        return recomputed.into();
    }
    let (own, rival) = (pair.local.allocated() as u64, pair.rival.allocated() as u64);
    let (least, most) = (format::bytes(own.min(rival)), format::bytes(own.max(rival)));
    let operations = format::ratio(pair.local.flops, pair.rival.flops);
    match own < rival {
        true => format!(
            "{recomputed} This recipe needs less memory ({least} against {most}), at {operations} of its operations."
        ),
        false => format!(
            "{recomputed} It needs less memory than this recipe ({least} against {most}), which takes {operations} of its \
             operations."
        ),
    }
}

/// From which batch on nothing waits for what is in host memory.
fn transfers(pair: &Pair) -> String {
    let hides = BUSES.iter().filter_map(|&bus| Some((bus, pair.local.hides_from(bus, RATE)?)));
    let hides: Vec<String> =
        hides.map(|(bus, n)| format!("{} on {}", format::several(n, "image"), bus.name)).collect();
    if hides.is_empty() {
        return String::new();
    }
    format!(
        "\n\nAuxiliary networks come and go while others compute. Predicted, not measured: computing waits for no copy but the \
         first from {} per step, on a GPU that does {} TFLOP a second; at half of that from half as many.",
        hides.join(", "),
        RATE / 1e12
    )
}
