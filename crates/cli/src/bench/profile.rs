//! The table of operations.

use super::units::{giga, seconds};
use crate::format;
use mlaan::bench::{Measurement, Profile};
use mlaan_engine::OperationCost;

const NOTE: &str = "Calls and times are those of one step. Compute is that of convolutions and linear layers, part of the \
                    peak. Memory is every operand once, part of the bandwidth; it is more where \
                    operands stay in a cache. Recording costs a little time of its own.";

/// The `top` slowest operations, the rest, and what is outside of them.
pub fn text(p: &Profile, r: &Measurement, top: usize) -> String {
    let header =
        ["operation", ">calls", ">time", ">fraction", ">GFLOP/s", ">of peak", ">GB/s", ">of bandwidth"];
    let mut table = format::table(&header);
    let (shown, rest) = p.operations.split_at(top.min(p.operations.len()));
    for o in shown {
        table.add_row(row(p, r, o));
    }
    if !rest.is_empty() {
        let kinds = format::several(rest.len(), "more kind");
        table.add_row(row(p, r, &sum(rest, kinds)));
    }
    table.add_row(row(p, r, &sum(&p.operations, "all operations".into())));
    let step = |s: f64| seconds(s / p.steps as f64);
    let fraction = format::percent(100.0 * p.outside() / p.seconds);
    let blank = String::new;
    table.add_row([
        "outside of operations".into(),
        blank(),
        step(p.outside()),
        fraction,
        blank(),
        blank(),
        blank(),
        blank(),
    ]);
    format!("\n{}\n\n{}\n", format::text(&table), format::dim(NOTE))
}

fn row(p: &Profile, r: &Measurement, o: &OperationCost) -> [String; 8] {
    let steps = p.steps as f64;
    let (flops, bytes) = (o.flops as f64 / o.seconds, o.bytes as f64 / o.seconds);
    let computes = o.flops > 0;
    let or_dash = |text: String| if computes { text } else { "–".into() };
    [
        o.name.clone(),
        format::count((o.calls as f64 / steps).round() as usize),
        seconds(o.seconds / steps),
        format::percent(100.0 * o.seconds / p.seconds),
        or_dash(giga(flops)),
        or_dash(format::percent(r.machine.flops.map_or(f64::NAN, |peak| 100.0 * flops / peak))),
        giga(bytes),
        format::percent(100.0 * bytes / r.machine.bandwidth),
    ]
}

fn sum(all: &[OperationCost], name: String) -> OperationCost {
    let start = OperationCost { name, calls: 0, seconds: 0.0, flops: 0, bytes: 0 };
    all.iter().fold(start, |s, o| OperationCost {
        calls: s.calls + o.calls,
        seconds: s.seconds + o.seconds,
        flops: s.flops + o.flops,
        bytes: s.bytes + o.bytes,
        ..s
    })
}
