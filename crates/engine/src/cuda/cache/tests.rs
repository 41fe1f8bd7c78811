use super::*;
use std::fs;

/// A folder that is gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mlaan-kernels-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    fn refused(&self, inside: &str) -> String {
        Cache::open(&self.0.join(inside)).err().unwrap_or_else(|| panic!("{inside} is taken"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn code() -> Vec<u8> {
    [MAGIC, b"and more"].concat()
}

#[test]
fn only_whole_machine_code_is_found_again() {
    let place = Place::new("whole");
    let cache = Cache::open(&place.0.join("a/b")).unwrap();
    let name = name("add.cu", &("source", 90));
    assert_ne!(name, super::name("add.cu", &("source", 80)));
    assert_eq!(cache.get(&name), None);
    cache.put(&name, b"/a/path");
    assert_eq!(cache.get(&name), None);
    cache.put(&name, &code());
    assert_eq!(cache.get(&name), Some(code()));
    assert_eq!(Cache::open(&place.0.join("a/b")).unwrap().get(&name), Some(code()), "in another process too");
    let path = place.0.join("a/b").join(&name);
    let whole = fs::read(&path).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..whole.len() - 1], &other, &whole[..3], &[]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(cache.get(&name), None);
    }
    let names = fs::read_dir(place.0.join("a/b")).unwrap().count();
    assert_eq!(names, 2, "the key and one file");
}

#[test]
fn code_of_another_name_or_key_is_not_taken() {
    let place = Place::new("keys");
    let (own, theirs) =
        (Cache::open(&place.0.join("own")).unwrap(), Cache::open(&place.0.join("theirs")).unwrap());
    theirs.put("a.cubin", &code());
    own.put("b.cubin", &code());
    fs::copy(place.0.join("theirs/a.cubin"), place.0.join("own/a.cubin")).unwrap();
    assert_eq!(own.get("a.cubin"), None, "made with another key");
    fs::copy(place.0.join("own/b.cubin"), place.0.join("own/a.cubin")).unwrap();
    assert_eq!(own.get("a.cubin"), None, "the code of another kernel");
    own.put("a.cubin", &code());
    assert_eq!(own.get("a.cubin"), Some(code()));
    // A key that was cut off is replaced, and what it had signed is made anew.
    fs::write(place.0.join("own/key"), b"short").unwrap();
    let own = Cache::open(&place.0.join("own")).unwrap();
    assert_eq!(own.get("a.cubin"), None);
}

#[cfg(unix)]
#[test]
fn what_others_could_have_changed_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new("others");
    let at = |inside: &str| place.0.join(inside);
    let mode =
        |inside: &str, mode: u32| fs::set_permissions(at(inside), fs::Permissions::from_mode(mode)).unwrap();
    let of = |inside: &str| fs::metadata(at(inside)).unwrap().permissions().mode() & 0o777;
    let cache = Cache::open(&at("own")).unwrap();
    cache.put("a.cubin", &code());
    assert_eq!((of("own"), of("own/key"), of("own/a.cubin")), (0o700, 0o600, 0o600));
    // Code that others may write, and code behind a link.
    mode("own/a.cubin", 0o622);
    assert_eq!(cache.get("a.cubin"), None);
    mode("own/a.cubin", 0o600);
    fs::rename(at("own/a.cubin"), at("moved")).unwrap();
    symlink(at("moved"), at("own/a.cubin")).unwrap();
    assert_eq!(cache.get("a.cubin"), None);
    let before = fs::read(at("moved")).unwrap();
    cache.put("a.cubin", &[&code()[..], b"!"].concat());
    assert_eq!(fs::read(at("moved")).unwrap(), before, "nothing is written through a link");
    assert!(cache.get("a.cubin").is_some());
    // A pipe in its place is not waited for.
    fs::remove_file(at("own/a.cubin")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("own/a.cubin"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert_eq!(cache.get("a.cubin"), None);
    // A key that others can read, a link in its place, a folder that others write to, a link to a folder, a file.
    mode("own/key", 0o644);
    assert!(place.refused("own").contains("open to others"));
    fs::rename(at("own/key"), at("key")).unwrap();
    symlink(at("key"), at("own/key")).unwrap();
    assert!(place.refused("own").contains("is a link"));
    fs::remove_file(at("own/key")).unwrap();
    mode("own", 0o770);
    assert!(place.refused("own").contains("others may write"));
    mode("own", 0o755);
    assert!(Cache::open(&at("own")).is_ok(), "to be read by others does no harm");
    symlink(at("own"), at("link")).unwrap();
    assert!(place.refused("link").contains("a link"));
    assert!(place.refused("moved").contains("no folder"));
    // Another user's, as the system's own are where tests are not root's.
    if rustix::process::geteuid().as_raw() == 0 {
        std::os::unix::fs::chown(at("own"), Some(65_534), None).unwrap();
        assert!(place.refused("own").contains("another user"));
    } else {
        assert!(Cache::open(Path::new("/usr")).err().unwrap().contains("another user"));
    }
}
