//! What runs benchmarks on a GPU (`bench/gpu.sh`), tested in Python without one: limits of time, going on with a call that was
//! cut off, errors, recording PyTorch's steps.
#![cfg(unix)]

use crate::common::python::python;
use std::path::Path;

const SCRIPT: &str = "
import io, sys, unittest
said = io.StringIO()
tests = unittest.defaultTestLoader.discover(sys.argv[1], 'test_*.py')
found = unittest.TextTestRunner(stream=said).run(tests)
assert found.wasSuccessful() and found.testsRun, said.getvalue()
";

#[test]
fn benchmarks_on_a_gpu_keep_their_time_and_go_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench");
    // Test programs run elsewhere too.
    if let (Some(python), true) = (python(&["unittest"]), folder.is_dir()) {
        python.run(SCRIPT, &[folder]);
    }
}
