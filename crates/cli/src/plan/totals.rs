//! What a plan comes to, beside backpropagation and backpropagation with recomputation.

use super::pair::Pair;
use crate::{format, modules};
use mlaan::plan::{BUSES, Plan, RATE};
use mlaan_engine::MemoryCategory;

/// The table, and what it says.
pub fn text(pair: &Pair) -> String {
    format!("{}\n\n{}{}", table(pair), verdict(pair), transfers(pair))
}

fn table(pair: &Pair) -> String {
    let mut table = format::table(&["", ">this recipe", ">BP", ">this / BP", ">recomputed", ">this / it"]);
    let plans = [&pair.local, &pair.plain, &pair.rival];
    let mut bytes = |what: String, of: &dyn Fn(&Plan) -> usize| {
        let [own, plain, rival] = plans.map(|p| of(p) as u64);
        let (first, second) = (format::ratio(own, plain), format::ratio(own, rival));
        table.add_row([what, format::bytes(own), format::bytes(plain), first, format::bytes(rival), second]);
    };
    for (i, category) in MemoryCategory::ALL.iter().enumerate() {
        let at_peak = |p: &Plan| p.usage.peak_by_category.get(i).copied().unwrap_or(0);
        bytes(format!("{} at peak", category.name()), &at_peak);
    }
    bytes("tensors and batches".into(), &Plan::allocated);
    if pair.local.process > 0 {
        bytes("peak of the process".into(), &Plan::memory);
    }
    if pair.local.moved() > 0 {
        bytes("host, page-locked".into(), &Plan::host);
        bytes("copied each way a step".into(), &Plan::moved);
    }
    let [own, plain, rival] = plans.map(|p| p.flops);
    let (first, second) = (format::ratio(own, plain), format::ratio(own, rival));
    table.add_row([
        "GFLOP of a step".into(),
        format::giga(own),
        format::giga(plain),
        first,
        format::giga(rival),
        second,
    ]);
    let [own, plain, rival] = plans.map(|p| modules::short(p.auxiliary_parameters()));
    table.add_row(["auxiliary parameters".into(), own, plain, "–".into(), rival, "–".into()]);
    format::text(&table)
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
