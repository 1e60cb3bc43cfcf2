//! What a shell and `man` are told of the command line.

use crate::support::sallyport;

#[test]
fn completions_and_manual_pages_know_every_command() {
    let printed = |arguments: &[&str]| {
        let output = sallyport().args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let commands =
        ["run", "check", "convert", "explain", "upgrade", "origin", "demo", "completions", "man"];
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH sallyport 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    printed(&["man", "--folder", folder.path().to_str().unwrap()]);
    for command in commands {
        let page = folder.path().join(format!("sallyport-{command}.1"));
        assert!(page.exists(), "{}", page.display());
    }
}
