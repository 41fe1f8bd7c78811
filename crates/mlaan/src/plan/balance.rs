//! Cuts that need equally much memory everywhere (the way of InfoPro*, Wang et al., ICLR 2021).

use super::Sizes;
use super::dry::meters;
use crate::backbone::Backbone;
use crate::local::{Meter, Method, Recompute, Task};
use crate::{Error, Result};

/// The method with the cuts that make the greatest memory of a module least: what its forward pass keeps, and the most
/// that its auxiliary network takes beside. Methods without `balance`, and those of one module, come back as they are.
/// Of equally good cuts the lowest are taken, so the same method always gets the same.
///
/// # Errors
/// More modules than the network can be cut into; as [`super::plan`].
pub fn balanced(backbone: &dyn Backbone, method: &Method, task: Task, sizes: Sizes) -> Result<Method> {
    if !method.balance || method.modules <= 1 {
        return Ok(Method { balance: false, ..method.clone() });
    }
    let blocks = backbone.blocks().len();
    let least = if method.stem_alone == Some(true) { 2 } else { 1 };
    let most = if method.stem_alone == Some(false) { blocks } else { blocks + 1 };
    if method.modules < least || method.modules > most {
        let message = format!(
            "{} modules; {} has {blocks} blocks, which make {least} to {most}",
            method.modules,
            backbone.name()
        );
        return Err(Error::recipe("local.modules", message));
    }
    let finest = Method {
        cuts: Some((0..blocks).collect()),
        balance: false,
        recompute: Recompute::None,
        segments: None,
        ..method.clone()
    };
    let pieces = meters(backbone, &finest, task, sizes)?;
    let cuts = best_cuts(&pieces, method.modules, method.stem_alone);
    Ok(Method { cuts: Some(cuts), balance: false, ..method.clone() })
}

/// Cuts between pieces (the stem, then the blocks) into `modules`, by dynamic programming over the last cut.
fn best_cuts(pieces: &[Meter], modules: usize, stem_alone: Option<bool>) -> Vec<usize> {
    let n = pieces.len();
    let mut kept = vec![0; n + 1];
    for (i, p) in pieces.iter().enumerate() {
        kept[i + 1] = kept[i] + p.activations;
    }
    let cost = |from: usize, to: usize| kept[to] - kept[from] + pieces[to - 1].auxiliary_bytes;
    // Where the first module may end.
    let first = |to: usize| stem_alone.is_none_or(|alone| alone == (to == 1));
    // best[m][to]: the greatest memory of m + 1 modules over the pieces before `to`, and where the last begins.
    let mut best = vec![vec![None; n + 1]; modules];
    for to in (1..=n).filter(|&to| first(to) || modules == 1) {
        best[0][to] = Some((cost(0, to), 0));
    }
    for m in 1..modules {
        for to in m + 1..=n {
            let options = (m..to).filter_map(|from| {
                best[m - 1][from].map(|(so_far, _): (usize, usize)| (so_far.max(cost(from, to)), from))
            });
            best[m][to] = options.min();
        }
    }
    let (mut cuts, mut to) = (Vec::new(), n);
    for row in best.iter().skip(1).rev() {
        let Some((_, from)) = row[to] else { break };
        // Piece 0 is the stem: a cut counts the blocks below it.
        cuts.push(from - 1);
        to = from;
    }
    cuts.reverse();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(memory: &[(usize, usize)]) -> Vec<Meter> {
        let meter =
            |&(activations, auxiliary_bytes)| Meter { activations, auxiliary_bytes, ..Meter::default() };
        memory.iter().map(meter).collect()
    }

    fn greatest(pieces: &[Meter], cuts: &[usize]) -> usize {
        let mut from = 0;
        let ends = cuts.iter().map(|c| c + 1).chain([pieces.len()]);
        ends.map(|to| {
            let inside = &pieces[from..to];
            from = to;
            inside.iter().map(|p| p.activations).sum::<usize>() + inside[inside.len() - 1].auxiliary_bytes
        })
        .max()
        .unwrap()
    }

    #[test]
    fn no_other_cuts_are_better() {
        let pieces = pieces(&[(2, 3), (4, 3), (4, 1), (4, 6), (2, 2), (2, 2), (1, 1), (1, 0)]);
        let n = pieces.len();
        for modules in 2..=n {
            let cuts = best_cuts(&pieces, modules, None);
            assert_eq!(cuts.len(), modules - 1);
            // Every choice of modules - 1 cuts.
            let all = (0u32..1 << (n - 1)).filter(|set| set.count_ones() as usize == modules - 1);
            let choices = all.map(|set| (0..n - 1).filter(|&c| set >> c & 1 == 1).collect::<Vec<_>>());
            let least = choices.map(|c| greatest(&pieces, &c)).min().unwrap();
            assert_eq!(greatest(&pieces, &cuts), least, "{cuts:?}");
        }
        assert_eq!(best_cuts(&pieces, 3, Some(true))[0], 0);
        assert_ne!(best_cuts(&pieces, 3, Some(false))[0], 0);
    }
}
