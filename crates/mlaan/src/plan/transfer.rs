//! Whether what is kept in host memory comes and goes while a GPU computes, by speeds that are supposed: a prediction, not a
//! measurement.

use super::Plan;

/// A bus between a GPU and host memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bus {
    /// Its name.
    pub name: &'static str,
    /// Bytes a second that large copies from pinned memory reach each way, both ways at once.
    pub rate: f64,
}

/// 16 lanes of PCI Express: about four fifths of what the standard allows.
pub const BUSES: [Bus; 3] = [
    Bus { name: "PCIe 3", rate: 12.5e9 },
    Bus { name: "PCIe 4", rate: 25e9 },
    Bus { name: "PCIe 5", rate: 50e9 },
];

/// Floating-point operations a second that a GPU is supposed to reach over a step.
pub const RATE: f64 = 100e12;

impl Plan {
    /// Images of a step from which computing, at `rate` operations a second, never waits for a copy but that of the first module,
    /// which nothing comes before. None where nothing is moved.
    ///
    /// The copy back of a module's auxiliary networks has until the next module's turn from forward to backward, and the copy of the next
    /// ones from the turn on until they are used.
    pub fn hides_from(&self, bus: Bus, rate: f64) -> Option<usize> {
        if self.moved() == 0 {
            return None;
        }
        // Every shard brings all of it for its part of the images.
        let batch = |bytes: usize, flops: f64| {
            let (bytes, per_image) = ((bytes * self.shards) as f64, flops / self.batch.max(1) as f64);
            bytes / bus.rate * rate / per_image.max(1.0)
        };
        // Of a pass forward and back, a third is forward.
        let (ahead, behind) = (1.0 / 3.0, 2.0 / 3.0);
        let pairs = self.modules.windows(2).map(|pair| {
            let [this, next] = pair else { return 0.0 };
            let between = (this.meter.backward + next.meter.forward) as f64;
            let back = batch(this.moved, between + ahead * next.meter.auxiliary as f64);
            back.max(batch(next.moved, between + behind * this.meter.auxiliary as f64))
        });
        Some(pairs.fold(1.0, f64::max).ceil() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{Meter, ModuleSummary};
    use crate::nn::ImageShape;
    use crate::plan::ModulePlan;
    use mlaan_engine::Usage;

    fn module(moved: usize, auxiliary: u64) -> ModulePlan {
        let summary = ModuleSummary {
            first: "layer1.0".into(),
            last: "layer1.0".into(),
            blocks: 1,
            parameters: 1,
            auxiliary_parameters: 1,
            output: ImageShape::square(1, 1),
            sources: Vec::new(),
            shares: None,
            lambdas: None,
            is_trained: true,
        };
        let meter = Meter { forward: 100, backward: 200, auxiliary, ..Meter::default() };
        ModulePlan { summary, meter, moved }
    }

    #[test]
    fn the_longest_copy_decides() {
        let plan = |modules: Vec<ModulePlan>| Plan {
            modules,
            stages: Vec::new(),
            usage: Usage::default(),
            process: 0,
            messages: 0,
            flops: 0,
            batch: 10,
            shards: 1,
        };
        let bus = Bus { name: "bus", rate: 1.0 };
        assert_eq!(plan(vec![module(0, 0), module(0, 0)]).hides_from(bus, 1.0), None);
        // Back: 60 operations an image between the two and a third of the 90 that follow; there: two thirds of 90 and the 30 between.
        let all = vec![module(600, 900), module(300, 900), module(0, 0)];
        assert_eq!(
            plan(all.clone()).hides_from(bus, 1.0),
            Some(10),
            "600 bytes in 10 images of 30 + 30 operations"
        );
        assert_eq!(plan(all.clone()).hides_from(Bus { rate: 2.0, ..bus }, 1.0), Some(5));
        assert_eq!(plan(all).hides_from(bus, 4.0), Some(40));
    }
}
