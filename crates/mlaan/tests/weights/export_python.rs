//! Exported networks in PyTorch and onnxruntime: the same logits. ONNX files: the same bytes as ever.

use crate::common::python::python;
use crate::common::trained::{checkpoint, pictures, recipe};
use mlaan::Device;
use mlaan::export::{Format, export};
use mlaan::train::Trained;
use mlaan_engine::{DType, MemoryCategory};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Pixels, from 0 to 1 as float32, of `count` images of `size x size`, row by row.
const COMMON: &str = r#"
import json, sys
import numpy as np
file, pixels, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.fromfile(pixels, np.uint8).reshape(-1, size, size, 3).transpose(0, 3, 1, 2).astype(np.float32) / 255
"#;

const STATE_DICT: &str = r#"
import torch
from safetensors import safe_open
from safetensors.torch import load_file
sys.path.insert(0, sys.argv[4])
state = load_file(file)
about = safe_open(file, "pt").metadata()
classes = json.loads(about["classes"])
assert classes == [f"class {i}" for i in range(len(classes))] and int(about["size"]) == size
assert state["bn1.num_batches_tracked"].dtype == torch.int64 and int(state["bn1.num_batches_tracked"]) == 12
if sys.argv[5] == "resnet8":
    import oracle
    net = oracle.Backbone(oracle.BasicBlock, [1, 1, 1], [8, 16, 32], "cifar", len(classes))
else:
    from torchvision.models import resnet
    block = resnet.BasicBlock if sys.argv[5] == "resnet18" else resnet.Bottleneck
    net = resnet.ResNet(block, [2, 2, 2, 2] if sys.argv[5] == "resnet18" else [3, 4, 6, 3], len(classes))
net.load_state_dict(state, strict=True)
net.eval()
mean, std = (torch.tensor(json.loads(about[k]), dtype=torch.float32)[None, :, None, None] for k in ("mean", "std"))
with torch.no_grad():
    print(json.dumps(net((torch.from_numpy(x) - mean) / std).double().flatten().tolist()))
"#;

const ONNX: &str = r#"
import onnx, onnxruntime
model = onnx.load(file)
onnx.checker.check_model(model, full_check=True)
about = {p.key: p.value for p in model.metadata_props}
classes = json.loads(about["classes"])
assert classes == [f"class {i}" for i in range(len(classes))] and int(about["size"]) == size
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
logits, probabilities = session.run(["logits", "probabilities"], {"image": x})
assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
single = session.run(["logits"], {"image": x[:1]})[0]
assert np.allclose(single, logits[:1], atol=1e-4)
print(json.dumps(logits.astype(float).flatten().tolist()))
"#;

fn logits(trained: &mut Trained, images: &[Vec<u8>], size: usize) -> Vec<f32> {
    let device = Device::cpu(Some(2)).unwrap();
    let mut network = trained.network(&device).unwrap();
    let mut bytes = device.alloc([images.len(), size, size, 3], DType::U8, MemoryCategory::Data).unwrap();
    device.upload(&mut bytes, &images.concat()).unwrap();
    let mut values = device.alloc([images.len(), size, size, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.images_from_bytes(&bytes, network.task().pixels, &mut values).unwrap();
    network.infer(values).unwrap()
}

fn compare(format: Format, modules: &[&str], script: &str, cases: &[(&str, usize, usize)]) {
    let Some(python) = python(modules) else { return };
    let at = tempfile::tempdir().unwrap();
    for &(backbone, width, size) in cases {
        let run = at.path().join(backbone);
        checkpoint(&run, &recipe(backbone, width, size), 7, 4);
        let mut trained = Trained::open(&run, false).unwrap();
        let images = pictures(3, size);
        let expected = logits(&mut trained, &images, size);
        let (file, pixels) = (at.path().join("network"), at.path().join("pixels"));
        export(&trained, format, &file).unwrap();
        let again = fs::read(&file).unwrap();
        export(&trained, format, &file).unwrap();
        assert!(again == fs::read(&file).unwrap(), "the same network, other bytes");
        fs::write(&pixels, images.concat()).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let arguments = [
            file.display().to_string(),
            pixels.display().to_string(),
            size.to_string(),
            golden.display().to_string(),
            backbone.to_owned(),
        ];
        let said = python.run(&format!("{COMMON}{script}"), &arguments);
        let found: Vec<f32> = serde_json::from_str(said.trim()).unwrap();
        assert_eq!(found.len(), expected.len());
        let most = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() <= 1e-4 * most, "{backbone}: {a} here, {b} there");
        }
    }
}

#[test]
fn state_dicts_load_strictly_into_torchvision_and_the_oracle() {
    let modules = ["numpy", "torch", "torchvision", "safetensors"];
    // torchvision's widths are fixed.
    let cases = [("resnet8", 8, 16), ("resnet18", 64, 40), ("resnet50", 64, 40)];
    compare(Format::Safetensors, &modules, STATE_DICT, &cases);
}

#[test]
fn onnx_runs_and_passes_its_checker() {
    let modules = ["numpy", "onnx", "onnxruntime"];
    let cases = [("resnet8", 8, 16), ("resnet18", 8, 40), ("resnet50", 8, 40)];
    compare(Format::Onnx, &modules, ONNX, &cases);
}

/// But for the version of this program, which is in the file twice.
#[test]
fn onnx_files_keep_their_bytes() {
    let at = tempfile::tempdir().unwrap();
    let hash = |backbone: &str, size: usize| {
        let (run, file) = (at.path().join(backbone), at.path().join("network"));
        checkpoint(&run, &recipe(backbone, 8, size), 7, 4);
        export(&Trained::open(&run, false).unwrap(), Format::Onnx, &file).unwrap();
        let (mut bytes, version) = (fs::read(&file).unwrap(), env!("CARGO_PKG_VERSION").as_bytes());
        let found: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i..].starts_with(version)).collect();
        assert_eq!(found.len(), 2);
        found.iter().for_each(|&i| bytes[i..i + version.len()].fill(b'x'));
        Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let wanted = [
        "adb7c7e0869a5f4c9fa209fd966fd11751f143cf6d3bedb8bcc57fb359cde476",
        "6d1e838df6280e2ff43d6ea4388e4e449bd448723a27afc0889c5d64c3ae306b",
    ];
    assert_eq!([hash("resnet8", 16), hash("resnet18", 40)], wanted);
}
