//! A backbone of which parts keep their values.

use super::{Backbone, BlockInfo};
use crate::Result;
use crate::nn::{Builder, Layer, Sequence};

/// A backbone, and what of it does not learn.
pub struct Frozen<B> {
    inner: B,
    names: Vec<String>,
}

impl<B: Backbone> Frozen<B> {
    /// `names`: `stem`, names of blocks and parameters, or the first parts of such names, as `layer1`.
    pub fn new(inner: B, names: &[String]) -> Self {
        let mut all = inner.frozen().to_vec();
        all.extend(names.iter().filter(|name| !inner.frozen().contains(name)).cloned());
        Frozen { inner, names: all }
    }
}

impl<B: Backbone> Backbone for Frozen<B> {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn blocks(&self) -> &[BlockInfo] {
        self.inner.blocks()
    }

    fn stem_channels(&self) -> usize {
        self.inner.stem_channels()
    }

    fn stem(&self, builder: &Builder<'_>) -> Result<Sequence> {
        self.inner.stem(builder)
    }

    fn block(&self, index: usize, name: &str, builder: &Builder<'_>) -> Result<Box<dyn Layer>> {
        self.inner.block(index, name, builder)
    }

    fn scaled_block(
        &self,
        index: usize,
        name: &str,
        scale: (usize, f64),
        builder: &Builder<'_>,
    ) -> Result<Box<dyn Layer>> {
        self.inner.scaled_block(index, name, scale, builder)
    }

    fn classifier(&self, classes: usize, builder: &Builder<'_>) -> Result<Sequence> {
        self.inner.classifier(classes, builder)
    }

    fn features(&self) -> usize {
        self.inner.features()
    }

    fn frozen(&self) -> &[String] {
        &self.names
    }
}

impl<B: Backbone + ?Sized> Backbone for &B {
    fn name(&self) -> String {
        (**self).name()
    }

    fn blocks(&self) -> &[BlockInfo] {
        (**self).blocks()
    }

    fn stem_channels(&self) -> usize {
        (**self).stem_channels()
    }

    fn stem(&self, builder: &Builder<'_>) -> Result<Sequence> {
        (**self).stem(builder)
    }

    fn block(&self, index: usize, name: &str, builder: &Builder<'_>) -> Result<Box<dyn Layer>> {
        (**self).block(index, name, builder)
    }

    fn scaled_block(
        &self,
        index: usize,
        name: &str,
        scale: (usize, f64),
        builder: &Builder<'_>,
    ) -> Result<Box<dyn Layer>> {
        (**self).scaled_block(index, name, scale, builder)
    }

    fn classifier(&self, classes: usize, builder: &Builder<'_>) -> Result<Sequence> {
        (**self).classifier(classes, builder)
    }

    fn features(&self) -> usize {
        (**self).features()
    }

    fn frozen(&self) -> &[String] {
        (**self).frozen()
    }
}
