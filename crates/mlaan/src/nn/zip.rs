//! Layers of the same structure, tensor by tensor.

use super::{Layer, Param};
use crate::{Error, Result};

/// Calls `f` with every tensor of `copy` and the one in its place in `source`, a layer built in the same way under
/// another name. Nothing is stored between them, so a step may do this; it takes the square of their number in calls,
/// and a block has few.
///
/// # Errors
/// When the two are built differently; what `f` returns.
pub fn zip(
    copy: &mut dyn Layer,
    source: &mut dyn Layer,
    mut f: impl FnMut(Param<'_>, Param<'_>) -> Result<()>,
) -> Result<()> {
    let mut place = 0;
    copy.visit(&mut |own| {
        let (mut own, mut passed) = (Some(own), 0);
        source.visit(&mut |theirs| {
            passed += 1;
            match own.take_if(|_| passed == place + 1) {
                Some(own) if own.leaf == theirs.leaf && same_kind(&own, &theirs) => f(own, theirs),
                Some(own) => Err(unlike(&own, Some(&theirs))),
                None => Ok(()),
            }
        })?;
        place += 1;
        own.map_or(Ok(()), |own| Err(unlike(&own, None)))
    })?;
    let mut passed = 0;
    source.visit(&mut |theirs| {
        passed += 1;
        if passed > place { Err(unlike(&theirs, None)) } else { Ok(()) }
    })
}

fn same_kind(a: &Param<'_>, b: &Param<'_>) -> bool {
    a.value.shape() == b.value.shape() && a.is_buffer() == b.is_buffer()
}

fn unlike(a: &Param<'_>, b: Option<&Param<'_>>) -> Error {
    let said = |p: &Param<'_>| format!("`{}` {:?}", p.name(), p.value.shape().dims());
    let other = b.map_or_else(|| "nothing".to_owned(), said);
    let message = format!(
        "a mirror must have the tensors of its block, in the same order: {} stands beside {other}",
        said(a)
    );
    Error::recipe("model.backbone", message)
}
