//! What a rank holds of messages, beside its tensors: those that wait for it, those that it has made, and batches that it was
//! given ahead.

use super::Sizes;
use super::rank_messages::{RankMessages, in_flight};
use crate::Result;
use crate::local::{Learner, Method, ModuleSummary, Rooms};

/// What a message takes beside its values, and all small ones together.
const HEADER: usize = 256;
const SMALL: usize = 64 << 10;

/// What messages depend on.
pub(super) struct Borders<'a> {
    pub summary: &'a [ModuleSummary],
    pub cuts: &'a [usize],
    pub method: &'a Method,
    pub sizes: Sizes,
    /// Images of a step, their side, and classes.
    pub images: (usize, usize),
    pub classes: usize,
    /// Values of the network's largest tensor, which checkpoints gather.
    pub largest: usize,
}

impl Borders<'_> {
    /// Those of every rank.
    ///
    /// # Errors
    /// None in practice; visiting tensors is fallible.
    pub fn messages(&self, learner: &mut Learner) -> Result<Vec<RankMessages>> {
        let ranks = self.cuts.len() + 1;
        let mut sources = vec![vec![0; ranks]; ranks];
        for (from, row) in sources.iter_mut().enumerate() {
            for (to, bytes) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                *bytes = learner.sources_bytes(from, to)?;
            }
        }
        Ok((0..ranks).map(|k| self.of(k, ranks, &sources)).collect())
    }

    /// Values of a shard of a batch at the border above rank `k`.
    fn values(&self, k: usize) -> usize {
        let e = self.summary[self.cuts[k] - 1].output;
        self.images.0.div_ceil(self.sizes.shards.max(1)) * e.height * e.width * e.channels
    }

    fn of(&self, k: usize, ranks: usize, sources: &[Vec<usize>]) -> RankMessages {
        let rooms = Rooms::of(self.method);
        let features = |border: usize| self.values(border) * self.sizes.precision.dtype().bytes() + HEADER;
        let gradient = |border: usize| self.values(border) * size_of::<f32>() + HEADER;
        let cascades = self.method.span() > 1;
        let (below, above) = (k.checked_sub(1), (k + 1 < ranks).then_some(k));
        let others = (0..ranks).filter(|j| *j != k);
        let mirrored = |bytes: usize| (bytes > 0).then_some((bytes + HEADER, rooms.sources));
        let mut coming: Vec<(usize, usize)> =
            others.clone().filter_map(|j| mirrored(sources[j][k])).collect();
        let mut going: Vec<(usize, usize)> = others.filter_map(|j| mirrored(sources[k][j])).collect();
        coming.extend(below.map(|b| (features(b), rooms.features)));
        going.extend(above.map(|b| (features(b), rooms.features)));
        coming.extend(above.filter(|_| cascades).map(|b| (gradient(b), rooms.gradient)));
        going.extend(below.filter(|_| cascades).map(|b| (gradient(b), rooms.gradient)));
        let sum = |of: &[(usize, usize)]| of.iter().map(|(bytes, room)| bytes * room).sum::<usize>();
        let most = |of: &[(usize, usize)]| of.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
        let packed = self.packed();
        // What came is read once it is taken; what goes is made of values first.
        let step = sum(&coming) + 2 * most(&coming) + sum(&going) + most(&going);
        let batches = if k == 0 { ranks * packed } else { (in_flight(ranks) + 2) * packed };
        let evaluation =
            if k == 0 { (ranks + 1) * self.images.0 * self.classes * size_of::<f32>() } else { 0 };
        // Evaluations send features from the main thread. What it and the stage's thread have freed, the C library keeps for each; in
        // other ranks what comes is counted by more than that.
        let kept = if k == 0 { 2 * above.map_or(0, features) } else { 0 };
        let gathered = self.largest * size_of::<f32>() + HEADER;
        let ahead = if k == 0 { 0 } else { (in_flight(ranks) + 1) * packed };
        RankMessages {
            waiting: (sum(&coming) + ahead).max(evaluation).max(gathered) + SMALL,
            all: (step + batches + kept).max(evaluation).max(2 * gathered) + SMALL,
        }
    }

    /// Bytes of a batch for another rank: its labels, of mixtures two each, and images where decoders ask for them.
    fn packed(&self) -> usize {
        let (batch, side) = self.images;
        let labels = batch * size_of::<u32>() * if self.sizes.mixed { 3 } else { 1 };
        let decoders = self.method.reconstruct.iter().any(|&l| l > 0.0);
        let images =
            if decoders { batch * side * side * 3 * if self.sizes.mixed { 2 } else { 1 } } else { 0 };
        labels + images + HEADER
    }
}
