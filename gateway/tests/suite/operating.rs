//! The operator's page, `docs/operating.md`: each command on it does what it is there for.
//!
//! Commands of the gateway and of curl are run in their order, against a gateway whose files are
//! those of the page. What asks a service manager or a package manager is run in a Debian of its
//! own by the scripts in `systemd/debian`, which have these commands word by word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Gateway, Origin, tool};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/operating.md")).unwrap()
}

/// The commands of the page: lines set in by four.
fn commands(page: &str) -> Vec<&str> {
    // Blocks between fences are files.
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.lines().filter_map(|line| line.strip_prefix("    "))).collect()
}

#[test]
fn every_command_of_the_operators_page_runs() {
    if !tool("curl") || !tool("promtool") {
        return;
    }
    let page = page();
    let folder = tempfile::tempdir().unwrap();
    let (bin, etc) = (folder.path().join("bin"), folder.path().join("etc"));
    fs::create_dir_all(etc.join("conf.d")).unwrap();
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sallyport"), bin.join("sallyport")).unwrap();
    let origin = Origin::named("the shop");
    let shop = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let shop = shop.replace("10.0.0.1:8080", &origin.address.to_string());
    // An endpoint that nobody is at would answer now and then.
    let shop = shop.replace(", { address: \"10.0.0.2:8080\" }", "");
    fs::write(etc.join("conf.d/shop.yaml"), shop).unwrap();
    let shipped = fs::read_to_string(root().join("conf/sallyport.yaml")).unwrap();
    let shipped =
        shipped.replace("[::]:80", "127.0.0.1:0").replace("127.0.0.1:9901", "127.0.0.1:0");
    let file = etc.join("sallyport.yaml");
    fs::write(&file, shipped).unwrap();
    let gateway = Gateway::start_in(folder, file);
    let (web, admin) = (gateway.web().to_string(), gateway.admin().to_string());
    let inside = fs::read_to_string(root().join("systemd/debian/booted-inside.sh")).unwrap()
        + &fs::read_to_string(root().join("systemd/debian/test.sh")).unwrap();
    let mut said = Vec::new();
    for command in commands(&page) {
        let is_of_system = ["systemctl ", "dpkg ", "sallyport upgrade "];
        if is_of_system.iter().any(|it| command.starts_with(it)) {
            assert!(inside.contains(command), "systemd/debian does not run {command:?}");
            continue;
        }
        let here = command
            .replace("/etc/sallyport", etc.to_str().unwrap())
            .replace("127.0.0.1:9901", &admin)
            .replace("http://127.0.0.1/", &format!("http://{web}/"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", &here])
            .current_dir(root())
            .env("PATH", path)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{command}: {text}");
        said.push((command, text));
    }
    let of = |part: &str| {
        let found = said.iter().find(|(command, _)| command.contains(part));
        found.map(|(_, text)| text.as_str()).unwrap_or_else(|| panic!("no command has {part:?}"))
    };
    assert!(of("sallyport explain").contains("everything"), "{}", of("sallyport explain"));
    assert!(of("/config/history").contains("\"applied\""), "{}", of("/config/history"));
    assert!(of("/cart").len() > 1 && !origin.requests().is_empty(), "{said:?}");
    assert!(of("/log?level=debug").contains("debug"), "{}", of("/log?level=debug"));
    assert!(of("/readyz").contains("drain"), "{}", of("/readyz"));
    assert!(said.len() >= 13, "{said:?}");
}

#[test]
fn every_alert_has_a_line_on_the_operators_page() {
    let rules = fs::read_to_string(root().join("conf/monitoring/alerts.yaml")).unwrap();
    let page = page();
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    for alert in &alerts {
        assert!(page.contains(&format!("| `{alert}` |")), "{alert}");
    }
    assert_eq!(page.matches("| `Sallyport").count(), alerts.len());
}
