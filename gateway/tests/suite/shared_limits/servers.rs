//! Servers with passwords, TLS, sentinels and nodes.

use std::fs;

use super::redis::Redis;
use super::{ask, behind, limit, requests};
use crate::support::{Gateway, eventually, get, tool};
use crate::tls::pki::Pki;

const SECRET: &str = "an-open-secret-of-tests";

/// Starts a gateway on `yaml` with these files beside it.
fn with_files(yaml: &str, files: &[(&str, &[u8])]) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let config = folder.path().join("sallyport.yaml");
    fs::write(&config, yaml).unwrap();
    Gateway::start_in(folder, config)
}

/// Waits until the limit of one request holds, whoever asked before.
fn holds(gateway: &Gateway) {
    eventually("the server to refuse", || {
        ask(gateway.web(), "ann");
        (requests(gateway, &["refused"]) > 0.0).then_some(())
    });
    assert!(requests(gateway, &["admitted"]) <= 1.0);
}

fn open(at: &str) -> String {
    behind(&limit(1, "per: 1h,", &format!("{at}, on_failure: open")))
}

#[test]
fn a_password_comes_from_a_file_or_the_environment_and_is_shown_to_nobody() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start_with(&["--requirepass", SECRET], &[&format!("AUTH {SECRET}")]);
    let at = format!("address: {}, password_file: pass", redis.address());
    // An editor's line break is no part of it.
    let gateway = with_files(&open(&at), &[("pass", format!("{SECRET}\n").as_bytes())]);
    holds(&gateway);

    let acl = format!("ACL SETUSER gate on >{SECRET} ~sallyport:* +@scripting +get +set +time");
    assert_eq!(redis.say(&acl), "+OK");
    let at = format!("address: {}, username: gate, password: \"${{env:REDIS}}\"", redis.address());
    let mut program = crate::support::sallyport();
    program.env("REDIS", SECRET);
    let by_user = Gateway::start_with(&open(&at), program);
    eventually("the server to refuse", || {
        ask(by_user.web(), "bob");
        (requests(&by_user, &["refused"]) > 0.0).then_some(())
    });

    // As it stands in a file, which nobody should do.
    let at = format!("address: {}, password: {SECRET}", redis.address());
    let written = Gateway::start(&open(&at));
    for gateway in [&gateway, &by_user, &written] {
        for path in ["/config", "/config?format=yaml", "/metrics"] {
            let shown = get(gateway.admin(), "localhost", path).body;
            assert!(!shown.contains(SECRET), "{path}: {shown}");
        }
        assert!(!gateway.log().iter().any(|line| line.contains(SECRET)));
    }
}

#[test]
fn a_wrong_password_is_told_and_an_edit_of_its_file_mends_it() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start_with(&["--requirepass", SECRET], &[&format!("AUTH {SECRET}")]);
    let folder = tempfile::tempdir().unwrap();
    let (file, config) = (folder.path().join("pass"), folder.path().join("sallyport.yaml"));
    fs::write(&file, "wrong").unwrap();
    let at = format!("address: {}, password_file: pass", redis.address());
    fs::write(&config, open(&at)).unwrap();
    let gateway = Gateway::start_in(folder, config);
    gateway.logged("the server of a shared limit is not to be had");
    assert_eq!((ask(gateway.web(), "ann"), ask(gateway.web(), "ann")), (200, 200));
    crate::support::write_by_rename(&file, SECRET);
    holds(&gateway);
}

#[test]
fn tls_verifies_the_server_and_shows_a_certificate() {
    if !tool("redis-server") {
        return;
    }
    let pki = Pki::new("redis");
    pki.issue("server", &["localhost", "127.0.0.1"]);
    pki.issue("gate", &["gate"]);
    let path = |name: &str| pki.path(name).display().to_string();
    let (_redis, port) = Redis::start_on_port(|port| {
        let text = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
        let mut all = text(&["--port", "0", "--tls-port", &port.to_string(), "--tls-cert-file"]);
        all.extend([path("server.pem"), "--tls-key-file".into(), path("server.key")]);
        all.extend(["--tls-ca-cert-file".into(), path("ca.pem")]);
        all
    });
    let read = |name: &str| fs::read(pki.path(name)).unwrap();
    let files =
        [("ca.pem", read("ca.pem")), ("g.pem", read("gate.pem")), ("g.key", read("gate.key"))];
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    let tls = "tls: { ca: ca.pem, client_certificate: { cert: g.pem, key: g.key } }";
    let gateway = with_files(&open(&format!("address: \"localhost:{port}\", {tls}")), &files);
    holds(&gateway);

    // An authority that it is not from, and a certificate that is not shown.
    let other = Pki::new("another");
    let ca = fs::read(other.path("ca.pem")).unwrap();
    for (tls, ca) in [(tls, &ca), ("tls: { ca: ca.pem }", &read("ca.pem"))] {
        let files = [("ca.pem", &**ca), files[1], files[2]];
        let yaml = open(&format!("address: \"localhost:{port}\", {tls}"));
        let gateway = with_files(&yaml, &files);
        eventually("requests without the server", || {
            ask(gateway.web(), "ann");
            (requests(&gateway, &["fallback_admitted"]) >= 3.0).then_some(())
        });
        assert_eq!(requests(&gateway, &["admitted"]), 0.0, "{tls}");
    }
}

#[test]
fn a_cluster_is_asked_where_each_key_is() {
    if !tool("redis-server") {
        return;
    }
    let node = || Redis::start_on_port(|_| vec!["--cluster-enabled".to_owned(), "yes".to_owned()]);
    let ((one, first), (two, second)) = (node(), node());
    assert_eq!(one.say("CLUSTER ADDSLOTSRANGE 0 8191"), "+OK");
    assert_eq!(two.say("CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK");
    assert_eq!(one.say(&format!("CLUSTER MEET 127.0.0.1 {second}")), "+OK");
    for node in [&one, &two] {
        eventually("the cluster", || {
            let info = node.say("CLUSTER INFO");
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2"))
                .then_some(())
        });
    }
    // Either node is enough to begin with.
    let at = format!("cluster: [\"127.0.0.1:{first}\"], deadline: 10s");
    let yaml = behind(&limit(1, "per: 1h,", &format!("{at}, on_failure: closed")));
    let gateways = [Gateway::start(&yaml), Gateway::start(&yaml)];
    for gateway in &gateways {
        eventually("a connection", || {
            let sample =
                format!("sallyport_shared_limit_connected{{server=\"127.0.0.1:{first}\"}}");
            (gateway.metric(&sample) == Some(1.0)).then_some(())
        });
    }
    for key in 0..20 {
        let key = format!("key-{key}");
        assert_eq!(ask(gateways[0].web(), &key), 200, "{key}");
        assert_eq!(ask(gateways[1].web(), &key), 429, "{key}");
    }
    assert!(one.script_calls() > 0 && two.script_calls() > 0);
}

#[test]
fn sentinels_are_asked_for_the_server_again_after_a_failover() {
    if !tool("redis-server") {
        return;
    }
    let (master, first) = Redis::start_on_port(|_| Vec::new());
    let (replica, _) =
        Redis::start_on_port(|_| vec!["--replicaof".to_owned(), format!("127.0.0.1 {first}")]);
    let folder = tempfile::tempdir().unwrap();
    let (sentinel, port) = Redis::start_on_port(|port| {
        let file = folder.path().join(format!("{port}.conf"));
        fs::write(&file, format!("sentinel monitor limits 127.0.0.1 {first} 1\n")).unwrap();
        vec![file.display().to_string(), "--sentinel".to_owned()]
    });
    eventually("the replica to be known", || {
        let info = sentinel.say("INFO sentinel");
        let replicated = replica.say("INFO replication").contains("master_link_status:up");
        (info.contains("status=ok") && info.contains("slaves=1") && replicated).then_some(())
    });
    let at = format!(
        "sentinel: {{ service: limits, addresses: [\"127.0.0.1:{port}\"] }}, deadline: 10s"
    );
    let gateway =
        Gateway::start(&behind(&limit(1, "per: 1h,", &format!("{at}, on_failure: open"))));
    holds(&gateway);
    assert!(master.script_calls() > 0);

    assert_eq!(sentinel.say("SENTINEL FAILOVER limits"), "+OK");
    let mut keys = 0..;
    eventually("the replica to be asked", || {
        ask(gateway.web(), &format!("key-{}", keys.next().unwrap()));
        (replica.script_calls() > 0 && replica.say("INFO replication").contains("role:master"))
            .then_some(())
    });
}
