//! Leap chains that several modules train between them (METHOD §6, `local.leap.share`).
//!
//! Such a chain belongs to the auxiliary network of the last module that trains it in a step. Others borrow it for their losses.
//! Its gradients are summed over all of them, and applied once, behind the last: so in a step all see the same values.

use super::leap::sources;
use super::{Leap, LeapShare, Method, Partition};
use crate::backbone::Backbone;
use crate::{Error, Result};
use std::ops::Range;

/// A module's part in a leap chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The module whose auxiliary network has the chain: the last one of them.
    pub home: usize,
    /// How many train it before this one.
    pub index: usize,
    /// How many train it.
    pub of: usize,
}

/// How many shapes the features have had below the cut behind module `j`: modules with the same number have outputs of the
/// same shape.
pub(crate) fn shape(partition: &Partition, backbone: &dyn Backbone, j: usize) -> usize {
    backbone.blocks()[..partition.blocks(j).end].iter().filter(|b| b.reshapes).count()
}

/// The modules that a stage may begin with, ascending, beside the first: not between two that train one leap chain, were nothing
/// frozen.
///
/// # Errors
/// A method that does not fit the backbone.
pub(crate) fn stage_starts(method: &Method, backbone: &dyn Backbone) -> Result<Vec<usize>> {
    let partition = Partition::new(method, backbone)?;
    let last = partition.len() - 1;
    let shares = method.leap.as_ref().is_some_and(|leap| leap.share == LeapShare::Stage);
    let shape = |j: usize| shape(&partition, backbone, j);
    // The last one has no auxiliary network.
    Ok((1..=last).filter(|&j| !shares || j == last || shape(j - 1) != shape(j)).collect())
}

/// For every module its part in a leap chain; none where it has no chain in front of its auxiliary classifier. `trained`: whether
/// a module has the loss that carries the chain.
///
/// # Errors
/// Lists of sources that differ among those who share a chain.
pub(super) fn turns(
    leap: Option<&Leap>,
    partition: &Partition,
    backbone: &dyn Backbone,
    trained: &dyn Fn(usize) -> bool,
) -> Result<Vec<Option<Turn>>> {
    let mut turns = vec![None; partition.len()];
    let Some(leap) = leap else { return Ok(turns) };
    let all: Vec<usize> = (0..partition.len() - 1).filter(|&j| trained(j)).collect();
    let together = |a: &usize, b: &usize| {
        leap.share == LeapShare::Stage && shape(partition, backbone, *a) == shape(partition, backbone, *b)
    };
    for group in all.chunk_by(together) {
        check_sources(leap, group)?;
        for (index, &j) in group.iter().enumerate() {
            turns[j] = Some(Turn { home: group[group.len() - 1], index, of: group.len() });
        }
    }
    Ok(turns)
}

fn check_sources(leap: &Leap, group: &[usize]) -> Result<()> {
    // Too few of them are found where chains are built.
    let Some(lists) = leap.sources.as_ref().filter(|lists| group.iter().all(|&j| j < lists.len())) else {
        return Ok(());
    };
    match group.windows(2).find(|pair| lists[pair[0]] != lists[pair[1]]) {
        Some(pair) => {
            let message = format!(
                "modules {} and {} train one leap chain (local.leap.share is \"stage\"), and their lists differ: {:?} and {:?}; give \
                 both the same, or set local.leap.share to \"none\"",
                pair[0], pair[1], lists[pair[0]], lists[pair[1]]
            );
            Err(Error::recipe("local.leap.sources", message))
        }
        None => Ok(()),
    }
}

/// Checks that who shares a chain is in one stage.
///
/// # Errors
/// A stage that ends between two of them; says where it may.
pub(super) fn check_stages(turns: &[Option<Turn>], stages: &[Range<usize>]) -> Result<()> {
    let split = |cut: usize| {
        let reaches = |turn: &Option<Turn>| turn.filter(|turn| turn.home >= cut);
        (0..cut).rev().find_map(|j| Some((j, reaches(&turns[j])?.home)))
    };
    let Some((below, above)) = stages.iter().skip(1).find_map(|stage| split(stage.start)) else {
        return Ok(());
    };
    let possible: Vec<String> =
        (1..turns.len()).filter(|&cut| split(cut).is_none()).map(|cut| cut.to_string()).collect();
    let message = format!(
        "found \"stage\", and modules {below} and {above}, which train one leap chain, are in different stages (ranks); stages may \
         begin with one of the modules {}; or write \"none\"",
        possible.join(", ")
    );
    Err(Error::recipe("local.leap.share", message))
}

/// Why a chain that modules share is not offloaded.
pub(crate) fn shared_stays() -> Error {
    let message = "found \"stage\", and a leap chain that several modules train stays on the GPU; set local.offload to \"none\", or write \
                   \"none\" here";
    Error::recipe("local.leap.share", message)
}

/// The blocks that the chain of a module mirrors; none where that belongs to another module, or there is none.
///
/// # Errors
/// As [`sources`].
pub(super) fn own_sources(
    leap: Option<&Leap>,
    turns: &[Option<Turn>],
    (partition, backbone): (&Partition, &dyn Backbone),
    j: usize,
) -> Result<Vec<usize>> {
    match (leap, turns[j]) {
        (Some(leap), Some(turn)) if turn.home == j => sources(leap, partition, backbone, j),
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::ResNet;

    #[test]
    fn modules_of_a_stage_share_the_chain_of_their_last() {
        let net = ResNet::cifar(20, 16).unwrap();
        let method = Method { modules: 10, ..Method::default() };
        let partition = Partition::new(&method, &net).unwrap();
        let leap = Leap { share: LeapShare::Stage, ..Leap::default() };
        // The stem alone, then nine blocks in three stages; the last module has no auxiliary network. The fifth is frozen.
        let found = turns(Some(&leap), &partition, &net, &|j| j != 5).unwrap();
        let turn = |home, index, of| Some(Turn { home, index, of });
        let first = [turn(3, 0, 4), turn(3, 1, 4), turn(3, 2, 4), turn(3, 3, 4)];
        assert_eq!(found[..4], first);
        assert_eq!(found[4..], [turn(6, 0, 2), None, turn(6, 1, 2), turn(8, 0, 2), turn(8, 1, 2), None]);
        assert!(check_stages(&found, &[0..4, 4..7, 7..10]).is_ok());
        let error = check_stages(&found, &[0..5, 5..10]).unwrap_err().to_string();
        assert!(error.contains("modules 4 and 6") && error.contains("modules 4, 7, 9"), "{error}");
        let shared = Method { leap: Some(leap.clone()), ..method.clone() };
        assert_eq!(stage_starts(&shared, &net).unwrap(), [4, 7, 9]);
        assert_eq!(stage_starts(&method, &net).unwrap(), (1..10).collect::<Vec<_>>());

        let alone = turns(Some(&Leap::default()), &partition, &net, &|_| true).unwrap();
        assert!(alone[..9].iter().enumerate().all(|(j, t)| *t == turn(j, 0, 1)) && alone[9].is_none());
        let mut lists = vec![vec![3, 8]; 9];
        lists[1] = vec![8];
        let leap = Leap { sources: Some(lists), ..leap };
        let error = turns(Some(&leap), &partition, &net, &|_| true).unwrap_err().to_string();
        assert!(error.contains("modules 0 and 1") && error.contains("[3, 8] and [8]"), "{error}");
    }
}
