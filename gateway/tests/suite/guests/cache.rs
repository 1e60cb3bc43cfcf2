//! Compiled modules are kept on disk by what they were compiled from.

use std::path::Path;

use super::{guest, routes};
use crate::support::{Origin, sallyport};

/// Modules in the cache: files named by a hash; what is kept about them has a suffix.
fn kept(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |path: &Path| match path.is_dir() {
        true => kept(path),
        false => usize::from(path.extension().is_none() && !path.ends_with(".cleanup")),
    };
    entries.map(|entry| of(&entry.unwrap().path())).sum()
}

#[test]
fn a_module_is_compiled_once() {
    let (Some(one), Some(two)) = (guest("header_as"), guest("rogue_as")) else { return };
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = Origin::named("one");
    let check = |module: &Path| {
        let file = folder.path().join("test.yaml");
        let settings = format!("module: {}", module.display());
        std::fs::write(&file, routes(&[("up", origin.address)], &settings)).unwrap();
        let mut command = sallyport();
        command.env("XDG_CACHE_HOME", cache.path()).arg("check").arg(&file);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        kept(&cache.path().join("sallyport/modules"))
    };
    assert_eq!(kept(cache.path()), 0);
    assert_eq!(check(&one), 1);
    assert_eq!(check(&one), 1, "the same module is not compiled again");
    assert_eq!(check(&two), 2);
}
