//! What a method allows a loss to reach (METHOD §4 to §6).

use super::found::{Reach, Reached};
use crate::Result;
use crate::backbone::Backbone;
use crate::local::{Branch, LeapShare, LossOf, Method, Owner, Partition, shape, sources};

/// See the module.
pub(super) struct Allowed {
    modules: usize,
    span: usize,
    /// Per module but the last: the branch with a leap chain, and the modules whose blocks it follows.
    mirrored: Vec<Option<(Branch, Vec<usize>)>>,
    /// Per module but the last, where modules share leap chains: modules with the same number share one.
    shared: Vec<Option<usize>>,
}

impl Allowed {
    pub fn new(method: &Method, partition: &Partition, backbone: &dyn Backbone) -> Result<Self> {
        let mirrored = |j: usize| -> Result<Option<(Branch, Vec<usize>)>> {
            let Some(leap) = &method.leap else { return Ok(None) };
            let blocks = sources(leap, partition, backbone, j)?;
            let followed = leap.followed(&blocks).iter();
            Ok(Some((leap.on, followed.filter_map(|&b| partition.module_of(b)).collect())))
        };
        let shares = method.leap.as_ref().is_some_and(|leap| leap.share == LeapShare::Stage);
        let shared = |j: usize| shares.then(|| shape(partition, backbone, j));
        Ok(Allowed {
            shared: (0..partition.len() - 1).map(shared).collect(),
            modules: partition.len(),
            span: method.span(),
            mirrored: (0..partition.len() - 1).map(mirrored).collect::<Result<_>>()?,
        })
    }

    /// Whether the gradient of `loss` may reach `owner`.
    fn by_gradient(&self, loss: LossOf, owner: Owner) -> bool {
        let last = self.modules - 1;
        // The last module's loss is the classifier's, for both levels.
        let window = match loss.module == last || loss.branch == Branch::Cascaded {
            true => (loss.module + 1).saturating_sub(self.span)..=loss.module,
            false => loss.module..=loss.module,
        };
        match owner {
            Owner::Module(m) => window.contains(&m),
            Owner::Classifier => loss.module == last,
            Owner::Auxiliary(m, branch) => loss.module != last && (m, branch) == (loss.module, loss.branch),
        }
    }

    /// Whether `owner` holds mirrors of blocks that the gradient of `loss` may reach.
    fn by_mirrors(&self, loss: LossOf, owner: Owner) -> bool {
        let Owner::Auxiliary(m, branch) = owner else { return false };
        let Some(Some((on, modules))) = self.mirrored.get(m) else { return false };
        *on == branch && modules.iter().any(|&k| self.by_gradient(loss, Owner::Module(k)))
    }

    /// Whether `owner` may hold the leap chain that another module, whose `loss` it is, trains too.
    fn by_sharing(&self, loss: LossOf, owner: Owner) -> bool {
        let Owner::Auxiliary(m, branch) = owner else { return false };
        let Some(Some((on, _))) = self.mirrored.get(m) else { return false };
        let group = |j: usize| self.shared.get(j).copied().flatten();
        *on == branch
            && loss.branch == branch
            && loss.module < m
            && group(m).is_some_and(|g| Some(g) == group(loss.module))
    }

    /// The row of a loss, from what differs.
    pub fn judge(&self, loss: LossOf, found: Vec<(Owner, usize, Vec<String>)>) -> Reached {
        let parts = found.into_iter().map(|(owner, parameters, changed)| {
            let (gradient, mirrors) = (self.by_gradient(loss, owner), self.by_mirrors(loss, owner));
            Reach { owner, parameters, changed, gradient, mirrors, shared: self.by_sharing(loss, owner) }
        });
        Reached { loss, parts: parts.collect() }
    }
}
