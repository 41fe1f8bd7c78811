//! Segments of modules: what recomputation keeps the inputs of.

use super::{Method, Partition, Recompute};
use crate::{Error, Result};

/// For every module: one past the last of its `stem[j]` layers and blocks, for each of its segments; none when nothing
/// is recomputed.
///
/// # Errors
/// More segments than the largest module has blocks.
pub(super) fn ends(
    method: &Method,
    partition: &Partition,
    stem: &[usize],
) -> Result<Option<Vec<Vec<usize>>>> {
    if method.recompute == Recompute::None {
        return Ok(None);
    }
    let blocks = (0..partition.len()).map(|j| partition.blocks(j).len());
    let largest = blocks.clone().max().unwrap_or(0).max(1);
    if let Some(n) = method.segments.filter(|&n| n > largest) {
        let message = format!("{n} segments; the largest module has {largest} blocks, so at most {largest}");
        return Err(Error::recipe("local.segments", message));
    }
    Ok(Some(blocks.zip(stem).map(|(blocks, &stem)| spread(method.segments, stem, blocks)).collect()))
}

/// The square root, unless told otherwise: inputs of segments and the inside of one are then about as many (Chen et
/// al. 2016).
fn spread(segments: Option<usize>, stem: usize, blocks: usize) -> Vec<usize> {
    let n = segments.unwrap_or((blocks as f64).sqrt().ceil() as usize).min(blocks).max(1);
    (1..=n).map(|i| stem + i * blocks / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::ResNet;

    #[test]
    fn segments_are_even_and_end_with_the_module() {
        assert_eq!(spread(Some(4), 2, 15), [5, 9, 13, 17]);
        assert_eq!(spread(Some(3), 0, 2), [1, 2]);
        assert_eq!(spread(None, 2, 0), [2]);
        assert_eq!(spread(None, 2, 15), [5, 9, 13, 17]);
        assert_eq!(spread(None, 0, 1), [1]);
    }

    #[test]
    fn only_recomputation_has_segments_and_not_too_many() {
        let net = ResNet::cifar(32, 16).unwrap();
        let found = |m: Method| ends(&m, &Partition::new(&m, &net)?, &[2, 0, 0]);
        assert_eq!(found(Method::default()).unwrap(), None);
        let three = Method { modules: 3, recompute: Recompute::Module, ..Method::default() };
        assert_eq!(found(three.clone()).unwrap().unwrap(), [vec![3, 5, 7], vec![1, 3, 5], vec![1, 3, 5]]);
        let err = found(Method { segments: Some(6), ..three }).unwrap_err().to_string();
        assert!(err.contains("local.segments") && err.contains("at most 5"), "{err}");
    }
}
