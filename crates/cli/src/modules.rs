//! Modules as tables and words: what a run and a plan say of them.

use crate::format;
use mlaan::local::{Method, ModuleSummary};
use mlaan::plan::Plan;

/// The columns of a module that a run and a plan share.
pub const HEADER: [&str; 7] = [">#", "blocks", ">output", ">params", ">aux.", ">activations", ">peak"];

/// A row of them.
pub fn row(i: usize, plan: &Plan) -> Option<[String; 7]> {
    let m = plan.modules.get(i)?;
    Some([
        i.to_string(),
        blocks(&m.summary),
        m.summary.output.to_string(),
        short(m.summary.parameters),
        short(m.summary.auxiliary_parameters),
        format::bytes(m.meter.activations as u64),
        format::bytes(m.meter.peak as u64),
    ])
}

/// The row of all of them.
pub fn total(plan: &Plan) -> [String; 7] {
    let held: usize = plan.modules.iter().map(|m| m.meter.activations).sum();
    [
        String::new(),
        "all".into(),
        String::new(),
        short(plan.parameters()),
        short(plan.auxiliary_parameters()),
        format::bytes(held as u64),
        format::bytes(plan.usage.peak as u64),
    ]
}

/// A number of parameters in few characters, as `74.6k` or `1.23M`.
pub fn short(n: usize) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..999_500 => format!("{}k", format::digits(n as f64 / 1e3)),
        _ => format!("{}M", format::digits(n as f64 / 1e6)),
    }
}

/// The blocks of a module: the first and the last, as `stem–layer1.0` or, of a family of names, `layer1.0–2.1`.
pub fn blocks(m: &ModuleSummary) -> String {
    if m.first == m.last {
        return m.first.clone();
    }
    let letters = |name: &str| name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let last = match m.last.split_at(letters(&m.last)) {
        (word, rest) if !rest.is_empty() && m.first.get(..letters(&m.first)) == Some(word) => rest,
        _ => m.last.as_str(),
    };
    format!("{}–{last}", m.first)
}

/// Which loss a module has: an auxiliary network's, the network's own, or none.
pub fn loss(m: &ModuleSummary) -> &'static str {
    match (m.lambdas.is_some(), m.is_trained) {
        (true, _) => "aux.",
        (false, true) => "final",
        (false, false) => "none",
    }
}

/// What the columns and words of the table mean.
pub fn legend(plan: &Plan, method: &Method) -> String {
    let mut text = "blocks: the first and the last.".to_owned();
    if plan.modules.len() > 1 {
        text.push_str(" aux.: parameters of auxiliary networks.");
        text.push_str(&format!(" Auxiliary loss: {}.", auxiliary(method)));
        text.push_str(" Final loss: that of the network's classifier.");
    }
    if plan.modules.iter().any(|m| loss(&m.summary) == "none") {
        text.push_str(" None: frozen.");
    }
    text
}

/// An auxiliary network in words.
fn auxiliary(method: &Method) -> String {
    let mut text = format!("a classifier ({})", method.head.about());
    if method.reconstruct[0] > 0.0 || method.reconstruct[1] > 0.0 {
        text.push_str(", and a decoder that reconstructs the image (InfoPro)");
    }
    if let Some(cascade) = &method.cascade {
        text.push_str(&format!(", with gradients through {} modules (MLM)", cascade.span));
    }
    if method.leap.is_some() {
        text.push_str(", behind copies of later blocks (LAM)");
    }
    text
}

/// Which later blocks every module's auxiliary network has copies of; nothing where none has.
pub fn copies(plan: &Plan) -> Option<String> {
    let of = |(i, m): (usize, &mlaan::plan::ModulePlan)| {
        let sources: Vec<String> = m.summary.sources.iter().map(ToString::to_string).collect();
        match m.summary.shares {
            Some(home) => Some(format!("{i}: those of {home}")),
            None => (!sources.is_empty()).then(|| format!("{i}: {}", sources.join(" "))),
        }
    };
    let all: Vec<String> = plan.modules.iter().enumerate().filter_map(of).collect();
    (!all.is_empty()).then(|| format!("Copies of blocks (counted from 0), by module: {}", all.join(";  ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan::nn::ImageShape;

    #[test]
    fn blocks_are_the_first_and_the_last() {
        let of = |first: &str, last: &str| {
            blocks(&ModuleSummary {
                first: first.into(),
                last: last.into(),
                blocks: 1,
                parameters: 0,
                auxiliary_parameters: 0,
                output: ImageShape::square(1, 1),
                sources: Vec::new(),
                shares: None,
                lambdas: None,
                is_trained: true,
            })
        };
        assert_eq!((of("stem", "stem"), of("layer1.0", "layer1.0")), ("stem".into(), "layer1.0".into()));
        assert_eq!(
            (of("stem", "layer1.0"), of("layer1.0", "layer2.1")),
            ("stem–layer1.0".into(), "layer1.0–2.1".into())
        );
        assert_eq!(of("layer1.0", "head"), "layer1.0–head");
    }
}
