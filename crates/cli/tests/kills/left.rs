//! What commands leave in a folder, but for what differs from run to run.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Keys of what is measured.
const MEASURED: &[&str] =
    &["seconds", "images_per_second", "peak_bytes", "peak_memory_bytes", "peak_allocated_bytes"];

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => assert!(fs::copy(entry.path(), to).is_ok()),
        }
    }
}

/// Two folders hold the same files with the same contents, but for times.
pub fn assert_same(whole: &Path, other: &Path, what: &str) {
    let (whole, other) = (contents(whole, Path::new("")), contents(other, Path::new("")));
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&other), "{what}");
    for ((name, a), b) in whole.iter().zip(other.values()) {
        assert!(a == b, "{what}: {name}:\n{}\n{}", String::from_utf8_lossy(a), String::from_utf8_lossy(b));
    }
}

/// Every file by its path.
fn contents(folder: &Path, below: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder.join(below)).unwrap().map(Result::unwrap) {
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(folder, &path));
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        // Each process has a file of its own, called by the time.
        if name.contains("events.out.tfevents") {
            continue;
        }
        let bytes = fs::read(folder.join(&path)).unwrap();
        found.insert(name, comparable(&path, bytes));
    }
    found
}

fn comparable(path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    let name = path.file_name().unwrap().to_string_lossy();
    match name.as_ref() {
        // They show times.
        "compare.csv" | "compare.md" | "compare.json" => Vec::new(),
        "metrics.jsonl" => {
            let lines = String::from_utf8(bytes).unwrap();
            let mut events: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            // A run that was killed at its start says again how it begins.
            events.retain(|e| e["event"] != "resume");
            events.dedup_by(|a, b| a["event"] == "start" && b["event"] == "start");
            events.iter_mut().map(|e| measured_out(e).to_string() + "\n").collect::<String>().into_bytes()
        }
        _ if name.ends_with(".json") => {
            let mut value: Value = serde_json::from_slice(&bytes).unwrap();
            if let Some(manifest) = value.as_object_mut().filter(|m| m.contains_key("files")) {
                // Over times, too.
                manifest.remove("crc32");
            }
            measured_out(&mut value).to_string().into_bytes()
        }
        _ => bytes,
    }
}

fn measured_out(value: &mut Value) -> &Value {
    match value {
        Value::Object(table) => {
            table.retain(|key, _| !MEASURED.contains(&key.as_str()));
            for value in table.values_mut() {
                measured_out(value);
            }
        }
        Value::Array(list) => {
            for value in list {
                measured_out(value);
            }
        }
        _ => {}
    }
    value
}
