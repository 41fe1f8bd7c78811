//! A layer of one's own with a parameter and a buffer, and no convolution, in a network of one's own: it is trained,
//! saved, resumed and mirrored like the layers that are there.

use mlaan::backbone::{Backbone, BlockInfo};
use mlaan::engine::ops::Conv2dParams;
use mlaan::export::{Format, export};
use mlaan::local::{Branch, LeapInit, Learner, Method, Task, Tie};
use mlaan::nn::{
    Activation, ActivationFunction, AveragePool, Builder, Chain, ConvSpec, Gelu, Grad, ImageShape, Layer,
    Mode, Optimizer, Origin, Param, Parameter, Pass, Rectify, Role, Sequence, zip,
};
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trained, Trainer, checkpoint, setup};
use mlaan::{Device, Result};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, MemoryCategory, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A factor per channel, and how many batches it was trained on; computed on the host.
struct Scale {
    name: String,
    factor: Parameter,
    batches: Tensor,
}

impl Scale {
    fn new(name: String, channels: usize, b: &Builder<'_>) -> Result<Self> {
        Ok(Scale { name, factor: b.parameter(b.constant(channels, 1.0)?)?, batches: b.constant(1, 0.0)? })
    }

    fn stored(device: &Device, like: &Tensor, values: &[f32], category: MemoryCategory) -> Result<Tensor> {
        let mut tensor = device.alloc(like.shape(), DType::F32, category)?;
        device.upload(&mut tensor, values)?;
        Ok(tensor)
    }
}

impl Layer for Scale {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Ok(input)
    }

    fn forward(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<Activation> {
        assert!(x.norm.is_none() && x.activation == ActivationFunction::Identity, "stands behind Rectify");
        if mode == Mode::Train {
            let seen = device.download(&self.batches)?[0];
            device.upload(&mut self.batches, &[seen + 1.0])?;
        }
        let (mut values, factor) = (device.download(&x.tensor)?, device.download(&self.factor.value)?);
        values.iter_mut().zip(factor.iter().cycle()).for_each(|(v, s)| *v *= s);
        Ok(Activation::plain(Scale::stored(device, &x.tensor, &values, MemoryCategory::Activations)?))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        _: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let (mut dy, factor) = (device.download(&grad.tensor)?, device.download(&self.factor.value)?);
        if pass.weights && self.factor.learns() {
            let mut sums = vec![0.0; factor.len()];
            let products = device.download(&x.tensor)?.into_iter().zip(&dy).map(|(x, d)| x * d);
            products.enumerate().for_each(|(i, p)| sums[i % factor.len()] += p);
            self.factor.grad =
                Some(Scale::stored(device, &self.factor.value, &sums, MemoryCategory::Gradients)?);
        }
        if !pass.input {
            return Ok(None);
        }
        dy.iter_mut().zip(factor.iter().cycle()).for_each(|(d, s)| *d *= s);
        Ok(Some(Grad::plain(Scale::stored(device, &grad.tensor, &dy, MemoryCategory::Gradients)?)))
    }

    fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        let Scale { name, factor, batches } = self;
        let shape = factor.value.shape();
        f(Param::parameter((name, "factor"), shape, Role::Weight, factor))?;
        f(Param::buffer((name, "batches"), [1], batches))
    }
}

/// Convolutions, each with a [`Scale`] behind it; every one is a block, the second with GELU, the others with ReLU. Of one
/// that is `odd`, mirrors have no scale.
struct Scaled {
    widths: Vec<usize>,
    blocks: Vec<BlockInfo>,
    odd: bool,
}

impl Scaled {
    fn new(widths: &[usize], odd: bool) -> Self {
        let block = |(i, &channels): (usize, &usize)| BlockInfo {
            name: format!("block{i}"),
            stage: i + 1,
            channels,
            reshapes: true,
        };
        let blocks = widths[1..].iter().enumerate().map(block).collect();
        Scaled { widths: widths.to_vec(), blocks, odd }
    }

    fn conv(&self, name: &str, ends: (usize, usize), step: usize, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        let names = (format!("{name}.conv"), format!("{name}.bn"));
        ConvSpec::convolution(names.0, names.1, ends.0, ends.1, Conv2dParams::same(3, step)).build(b)
    }
}

impl Backbone for Scaled {
    fn name(&self) -> String {
        "scaled".into()
    }

    fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    fn stem_channels(&self) -> usize {
        self.widths[0]
    }

    fn stem(&self, b: &Builder<'_>) -> Result<Sequence> {
        Ok(vec![self.conv("stem", (3, self.widths[0]), 1, b)?, Box::new(Rectify)])
    }

    fn block(&self, index: usize, name: &str, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        let (input, output) = (self.widths[index], self.widths[index + 1]);
        let mut layers: Sequence = if index == 1 {
            let (conv, norm) = (format!("{name}.conv"), format!("{name}.bn"));
            let conv = ConvSpec::convolution(conv, norm, input, output, Conv2dParams::same(3, 2));
            vec![conv.activated(ActivationFunction::Identity).build(b)?, Box::new(Gelu::default())]
        } else {
            vec![self.conv(name, (input, output), 2, b)?, Box::new(Rectify)]
        };
        if !(self.odd && name.starts_with("aux.")) {
            layers.push(Box::new(Scale::new(format!("{name}.scale"), output, b)?));
        }
        Ok(Box::new(Chain::new(layers)))
    }

    fn classifier(&self, classes: usize, b: &Builder<'_>) -> Result<Sequence> {
        let linear = ConvSpec::linear("fc", self.features(), classes).build(b)?;
        Ok(vec![Box::new(AveragePool { height: 1, width: 1 }), linear])
    }
}

/// Two epochs of MLAAN; EMA takes sources over whole, so that copies can be compared with them.
fn recipe(tie: &str) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let keys = ["local.modules=3", "local.hidden=4", "local.leap.ema=0", "train.batch=20", "train.epochs=2"];
    let more = ["data.limit=60", "data.size=16", &format!("local.leap.tie={tie}")];
    r.set_all(keys.into_iter().chain(more)).unwrap();
    r
}

fn trainer(recipe: &Recipe) -> Trainer {
    let splits = setup::open(recipe, 1).unwrap();
    Trainer::new(recipe, &Scaled::new(&[4, 4, 8, 8], false), splits, &Device::cpu(Some(2)).unwrap()).unwrap()
}

fn run(recipe: &Recipe, folder: &Path, stop_after: Option<usize>) -> Outcome {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut watch = |p: Progress<'_>| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    };
    trainer(recipe).run(folder, true, &stop, &mut watch).unwrap()
}

fn tensors(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let (_, files) = checkpoint::load(folder).unwrap();
    let mut all = BTreeMap::new();
    for file in [&files.model, &files.state] {
        for name in file.names() {
            all.insert(name.to_owned(), file.read(name, file.shape(name).unwrap()).unwrap());
        }
    }
    all
}

#[test]
fn it_is_trained_saved_and_resumed_to_the_bit() {
    let recipe = recipe("twin");
    let whole = tempfile::tempdir().unwrap();
    assert!(matches!(run(&recipe, whole.path(), None), Outcome::Finished(_)));
    let expected = tensors(whole.path());
    for i in 0..3 {
        let factor = &expected[&format!("block{i}.scale.factor")];
        assert!(factor.iter().all(|v| *v != 1.0), "block {i} learnt nothing: {factor:?}");
        assert_eq!(expected[&format!("momentum.block{i}.scale.factor")].len(), factor.len());
        // 3 steps an epoch.
        assert_eq!(expected[&format!("block{i}.scale.batches")], [6.0]);
        assert!(!expected.contains_key(&format!("momentum.block{i}.scale.batches")));
    }
    for stop in [2, 3, 4] {
        let parts = tempfile::tempdir().unwrap();
        assert!(matches!(run(&recipe, parts.path(), Some(stop)), Outcome::Interrupted { .. }));
        assert!(matches!(run(&recipe, parts.path(), None), Outcome::Finished(_)));
        assert!(tensors(parts.path()) == expected, "stopped after {stop} steps");
    }
}

/// Its recipe names a ResNet, which it is not: neither form of export writes something else.
#[test]
fn what_is_no_resnet_is_not_exported_as_one() {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe("twin"), folder.path(), None);
    let trained = Trained::open(folder.path(), false).unwrap();
    for format in [Format::Onnx, Format::Safetensors] {
        let out = folder.path().join("exported");
        let said = export(&trained, format, &out).unwrap_err().to_string();
        assert!(said.contains("conv1.weight"), "{said}");
        assert!(!out.exists());
    }
}

/// Of a twin the shadow follows, of a pulled chain the mirrors do; buffers are each one's own.
#[test]
fn its_mirrors_follow_it() {
    for (tie, copy) in [("twin", "aux.shadow_cas_0"), ("pulled", "aux.leap_cas_0.0")] {
        let folder = tempfile::tempdir().unwrap();
        run(&recipe(tie), folder.path(), None);
        let all = tensors(folder.path());
        let own = &all["block1.scale.factor"];
        assert_eq!(&all[&format!("{copy}.scale.factor")], own, "{tie}");
        assert_eq!(all[&format!("{copy}.scale.batches")], [6.0], "{tie}");
        assert_eq!(all.contains_key(&format!("momentum.{copy}.scale.factor")), tie == "pulled");
        let mirror = &all["aux.leap_cas_0.0.scale.factor"];
        assert!(mirror.iter().all(|v| *v != 1.0), "{tie}: {mirror:?}");
        assert_eq!(mirror == own, tie == "pulled", "{tie}");
    }
}

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(16, 3), classes: 4, pixels }
}

/// Values of a network that has not learnt, by name.
fn begin(method: &Method) -> BTreeMap<String, Vec<f32>> {
    let device = Device::cpu(Some(1)).unwrap();
    let backbone = Scaled::new(&[4, 4, 8, 8], false);
    let mut learner = Learner::new(&device, &backbone, method, task(), 1, Optimizer::default()).unwrap();
    let mut all = BTreeMap::new();
    let mut keep = |p: Param<'_>| {
        all.insert(p.name(), device.download(p.value)?);
        Ok(())
    };
    learner.visit(&mut keep).unwrap();
    all
}

/// An average has its source's values in any case; mirrors have no two alike where they begin at random.
#[test]
fn mirrors_may_begin_at_random_and_averages_do_not() {
    let mut method = recipe("twin").local;
    let copied = begin(&method);
    method.leap.as_mut().unwrap().init = LeapInit::Random;
    let random = begin(&method);
    assert_eq!(copied.keys().collect::<Vec<_>>(), random.keys().collect::<Vec<_>>());
    let source = &copied["block1.conv.weight"];
    assert_eq!(&copied["aux.leap_cas_0.0.conv.weight"], source);
    assert_ne!(&random["aux.leap_cas_0.0.conv.weight"], source);
    assert_ne!(random["aux.leap_cas_0.0.conv.weight"], random["aux.leap_cas_1.0.conv.weight"]);
    for (name, values) in &random {
        let same = !name.starts_with("aux.leap") || !name.ends_with("conv.weight");
        assert_eq!(values == &copied[name], same, "{name}");
    }
}

#[test]
fn mirrors_begin_as_their_sources_and_all_is_shown_once() {
    let device = Device::cpu(Some(1)).unwrap();
    let mut method = recipe("twin").local;
    method.leap.as_mut().unwrap().tie = Tie::Twin;
    let backbone = Scaled::new(&[4, 4, 8, 8], false);
    let mut learner = Learner::new(&device, &backbone, &method, task(), 1, Optimizer::default()).unwrap();
    let mut all = BTreeMap::new();
    learner
        .visit(&mut |p| {
            assert_eq!(p.state().is_some(), !p.is_buffer() && p.origin != Origin::Shadow, "{}", p.name());
            let values = device.download(p.value)?;
            assert!(all.insert(p.name(), values).is_none(), "{} twice", p.name());
            Ok(())
        })
        .unwrap();
    for copy in ["aux.leap_cas_0.0", "aux.shadow_cas_0"] {
        for tensor in ["conv.weight", "bn.running_var", "scale.factor"] {
            assert_eq!(all[&format!("{copy}.{tensor}")], all[&format!("block1.{tensor}")]);
        }
    }
    let parameters: usize = learner.summary().unwrap().iter().map(|m| m.parameters).sum();
    let conv = |input: usize, output: usize| 9 * input * output + 2 * output;
    let scales = 4 + 8 + 8;
    assert_eq!(parameters, conv(3, 4) + conv(4, 4) + conv(4, 8) + conv(8, 8) + scales + 8 * 4 + 4);
}

#[test]
fn a_mirror_that_is_built_otherwise_is_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let backbone = Scaled::new(&[4, 4, 8, 8], true);
    let mut method = recipe("twin").local;
    method.leap.as_mut().unwrap().on = Branch::Cascaded;
    let refused = Learner::new(&device, &backbone, &method, task(), 1, Optimizer::default()).err().unwrap();
    let said = refused.to_string();
    assert!(said.contains("`block1.scale.factor` [8] stands beside nothing"), "{said}");

    let b = Builder { device: &device, seed: 0, optimizer: None };
    let scale = |channels| Scale::new("s".into(), channels, &b).unwrap();
    let mut pairs = Vec::new();
    zip(&mut scale(3), &mut scale(3), |a, b| {
        pairs.push((a.name(), b.leaf));
        Ok(())
    })
    .unwrap();
    assert_eq!(pairs, [("s.factor".to_owned(), "factor"), ("s.batches".to_owned(), "batches")]);
    let said = zip(&mut scale(3), &mut scale(4), |_, _| Ok(())).unwrap_err().to_string();
    assert!(said.contains("`s.factor` [3] stands beside `s.factor` [4]"), "{said}");
    let said = zip(&mut scale(3), &mut Rectify, |_, _| Ok(())).unwrap_err().to_string();
    assert!(said.contains("`s.factor` [3] stands beside nothing"), "{said}");
}
