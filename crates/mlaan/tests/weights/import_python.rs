//! Files that PyTorch writes at the moment: the same logits here.

use crate::common::python::{Python, python};
use crate::common::trained::pictures;
use mlaan::Device;
use mlaan::data::ImageView;
use mlaan::import::{Options, StateDict};
use mlaan::predict::Predictor;
use mlaan::recipe::MeanStd;
use mlaan::train::import;
use std::fs;
use std::path::Path;

/// Makes a network with statistics that are not trivial, saves it in some way, and prints probabilities.
const SCRIPT: &str = r#"
import json, sys
import numpy as np
import torch
golden, name, hows, folder, pixels, size = sys.argv[1:6] + [int(sys.argv[6])]
sys.path.insert(0, golden)
torch.manual_seed(1)
if name == "resnet8":
    import oracle
    net = oracle.Backbone(oracle.BasicBlock, [1, 1, 1], [8, 16, 32], "cifar", 5)
else:
    from torchvision.models import resnet
    net = resnet.ResNet(resnet.Bottleneck, [3, 4, 6, 3], 5)
for m in net.modules():
    if isinstance(m, torch.nn.BatchNorm2d):
        torch.nn.init.uniform_(m.weight, 0.5, 0.9)
        torch.nn.init.uniform_(m.running_mean, -1, 1)
        torch.nn.init.uniform_(m.running_var, 0.5, 1.5)
net.eval()
x = np.fromfile(pixels, np.uint8).reshape(-1, size, size, 3).transpose(0, 3, 1, 2).astype(np.float32) / 255
x = (torch.from_numpy(x) - 0.5) / 0.25
with torch.no_grad():
    print(json.dumps(net(x).softmax(1).double().flatten().tolist()))
def save(how, out):
    if how == "plain":
        torch.save(net.state_dict(), out)
    elif how == "nested":
        inner = {"module." + k: v for k, v in net.state_dict().items()}
        kept = {"best_acc1": torch.tensor(51.5), "arch": "resnet", "optimizer": {"lr": 0.1, "state": {}}}
        torch.save({"epoch": 3, "state_dict": inner, **kept}, out)
    elif how == "layout":
        # Channels last, and views of one storage.
        last = lambda v: torch.nn.Parameter(v.to(memory_format=torch.channels_last))
        state = {k: last(v) if v.dim() == 4 else v for k, v in net.state_dict().items()}
        both = torch.cat([state["bn1.weight"], state["bn1.bias"]])
        state["bn1.weight"], state["bn1.bias"] = both[: len(both) // 2], both[len(both) // 2 :]
        torch.save(state, out)
    elif how == "double":
        torch.save({"model": {k: v.double() for k, v in net.state_dict().items()}}, out)
    elif how == "average":
        average = torch.optim.swa_utils.AveragedModel(net)
        start = {k: torch.zeros_like(v) for k, v in net.state_dict().items()}
        torch.save({"model": start, "swa_model": average.state_dict(), "epoch": 1}, out)
    elif how == "average alone":
        torch.save({"callbacks": {"ema": {"ema_state_dict": net.state_dict()}}}, out)
    elif how == "legacy":
        torch.save(net.state_dict(), out, _use_new_zipfile_serialization=False)
    elif how == "whole":
        torch.save(net, out)
    elif how == "script":
        torch.jit.save(torch.jit.trace(net, x), out)


for how in hows.split(","):
    save(how, f"{folder}/{how}")
"#;

/// Files called as `hows`, and the probabilities.
fn save(python: &Python, at: &Path, name: &str, hows: &[&str], size: usize) -> Vec<f32> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let pixels = at.join("pixels");
    fs::write(&pixels, pictures(3, size).concat()).unwrap();
    let paths = [golden, name.into(), hows.join(",").into(), at.into(), pixels, size.to_string().into()];
    let paths = paths.map(|p| p.display().to_string());
    serde_json::from_str(python.run(SCRIPT, &paths).trim()).unwrap()
}

fn same_probabilities(python: &Python, name: &str, hows: &[&str], size: usize) {
    let at = tempfile::tempdir().unwrap();
    let expected = save(python, at.path(), name, hows, size);
    let normalise = Some(MeanStd { mean: [0.5; 3], std: [0.25; 3] });
    for how in hows {
        let key = (*how == "average").then(|| "swa_model".to_owned());
        let options = Options { size: Some(size), normalise, key, ..Options::default() };
        let run = at.path().join("runs").join(how);
        let mlaan::train::Imported { taken, .. } = import(&at.path().join(how), &options, &run).unwrap();
        assert!(!taken.new_classifier);
        let mut predictor = Predictor::load(&run, &Device::cpu(Some(2)).unwrap()).unwrap();
        let images = pictures(3, size);
        let views: Vec<ImageView> =
            images.iter().map(|rgb| ImageView { height: size, width: size, rgb }).collect();
        let found = predictor.probabilities(&views).unwrap().concat();
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 1e-4, "{name}, {how}: {a} there, {b} here");
        }
    }
}

#[test]
fn state_dicts_of_pytorch_give_the_same_probabilities() {
    let Some(python) = python(&["numpy", "torch", "torchvision", "safetensors"]) else { return };
    same_probabilities(
        &python,
        "resnet8",
        &["plain", "nested", "layout", "double", "average", "average alone", "legacy"],
        16,
    );
    same_probabilities(&python, "resnet50", &["plain"], 40);
}

#[test]
fn what_is_no_state_dict_says_what_to_do() {
    let Some(python) = python(&["numpy", "torch", "safetensors"]) else { return };
    let at = tempfile::tempdir().unwrap();
    let cases = [("whole", "a whole network"), ("script", "TorchScript")];
    save(&python, at.path(), "resnet8", &cases.map(|c| c.0), 16);
    for (how, part) in cases {
        let message = StateDict::open(&at.path().join(how)).err().unwrap().to_string();
        assert!(message.contains(part) && message.contains("torch.save("), "{message}");
    }
}

#[test]
fn damaged_archives_are_errors_and_never_panics() {
    let Some(python) = python(&["numpy", "torch", "safetensors"]) else { return };
    let at = tempfile::tempdir().unwrap();
    save(&python, at.path(), "resnet8", &["plain"], 16);
    let whole = fs::read(at.path().join("plain")).unwrap();
    let other = at.path().join("other");
    let read = |bytes: &[u8]| {
        fs::write(&other, bytes).unwrap();
        let mut dict = StateDict::open(&other)?;
        let names: Vec<String> = dict.tensors().map(|(n, _)| n.to_owned()).collect();
        names.iter().try_for_each(|n| dict.read(n).map(drop))
    };
    read(&whole).unwrap();
    for i in 0..40 {
        assert!(read(&whole[..whole.len() * i / 40]).is_err());
    }
    // The pickle, headers of the first files and the directory at the end.
    let ends = (0..1500).step_by(7).chain((whole.len() - 1500..whole.len()).step_by(7));
    for i in ends {
        let mut damaged = whole.clone();
        damaged[i] ^= 0x41;
        let _ = read(&damaged);
    }
}
