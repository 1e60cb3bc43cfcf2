//! What filters and the gateway vouch for, and a client can neither imitate nor take away.

use crate::support::{Gateway, Origin, Received, config, forward_all, request};

const SPOOFED: &str = "GET / HTTP/1.1\r\nHost: shop.example:81\r\nX-Forwarded-For: 1.2.3.4\r\n\
     X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=1.2.3.4\r\n\
     X-Real-IP: 1.2.3.4\r\nX-Request-Id: ok-1\r\nConnection: close\r\n\r\n";

#[test]
fn spoofed_forwarding_fields_are_replaced() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    request(gateway.web(), SPOOFED);
    let seen = origin.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["shop.example:81"]);
    assert_eq!(seen.fields("x-request-id"), ["ok-1"]);
    assert!(seen.fields("forwarded").is_empty() && seen.fields("x-real-ip").is_empty());
}

#[test]
fn trusted_proxies_are_believed() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]).replace(
        "address: 127.0.0.1:0 }\nadmin",
        "address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8] }\nadmin",
    );
    let gateway = Gateway::start(&yaml);
    request(gateway.web(), SPOOFED);
    let seen = origin.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["1.2.3.4, 127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["evil.example"]);
    assert_eq!(seen.fields("forwarded"), ["for=1.2.3.4"]);
}

#[test]
fn request_ids_are_made_where_they_are_missing_or_harmful() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for sent in ["", "X-Request-Id: a b\r\n", "X-Request-Id: \"><script>\r\n"] {
        request(
            gateway.web(),
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}Connection: close\r\n\r\n"),
        );
        let ids = origin.last().fields("x-request-id");
        assert_eq!(ids.len(), 1);
        assert!(
            ids[0].len() == 32 && ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{ids:?}"
        );
    }
}

/// Everything to `origin`, past filters that write fields of requests and responses.
fn vouching(origin: &Origin, limits: &str) -> Gateway {
    Gateway::start(&config(&format!(
        "limits: {{ {limits} }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters:
      - headers:
          request: {{ set: {{ x-user: ann, x-b: b }} }}
          response: {{ set: {{ x-mine: ours }} }}
    routes: [{{ name: everything, forward: {{ upstream: up }} }}]
",
        origin.address
    )))
}

fn sent(gateway: &Gateway, origin: &Origin, fields: &str) -> Received {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let response = request(gateway.web(), &text);
    assert_eq!(response.status, 200, "{fields}: {}", response.head);
    origin.last()
}

#[test]
fn rfc9110_7_6_1_connection_removes_what_the_client_sent_and_nothing_else() {
    let origin = Origin::named("a");
    let gateway = vouching(&origin, "");
    for fields in [
        "Connection: x-user\r\n",
        "Connection: X-USER\r\nX-User: root\r\n",
        "Connection: keep-alive,x-b , X-User\r\n",
        "Connection: keep-alive\r\nConnection: x-user, x-own\r\nX-Own: 1\r\n",
        "Connection: x-request-id\r\n",
    ] {
        let seen = sent(&gateway, &origin, fields);
        assert_eq!(seen.fields("x-user"), ["ann"], "{fields}: {}", seen.head);
        assert_eq!(seen.fields("x-b"), ["b"], "{fields}: {}", seen.head);
        assert_eq!(seen.fields("x-request-id").len(), 1, "{fields}: {}", seen.head);
        assert_eq!(seen.fields("x-own"), [""; 0], "{fields}: {}", seen.head);
        assert_eq!(seen.fields("connection"), [""; 0], "{fields}: {}", seen.head);
    }
}

#[test]
fn rfc9110_7_6_1_routes_do_not_see_what_connection_names() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&config(&format!(
        "upstreams: [{{ name: up, endpoints: [{{ address: \"{}\" }}] }}]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: beta, match: {{ headers: [{{ name: x-beta, exact: yes }}] }}, respond: {{ status: 204 }} }}
      - {{ name: everything, forward: {{ upstream: up }} }}
",
        origin.address
    )));
    let get = |connection: &str| {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Beta: yes\r\n";
        request(gateway.web(), &format!("{head}Connection: close{connection}\r\n\r\n")).status
    };
    assert_eq!((get(""), get(", x-beta")), (204, 200));
}

#[test]
fn rfc9110_7_6_1_an_origin_does_not_remove_what_a_filter_tells_the_client() {
    let origin = Origin::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-mine, x-hop\r\n\
                    X-Mine: theirs\r\nX-Hop: 1\r\n\r\n";
        std::io::Write::write_all(stream, head.as_bytes()).is_ok()
    });
    let gateway = vouching(&origin, "");
    let response = crate::support::get(gateway.web(), "a", "/");
    assert_eq!(response.fields("x-mine"), ["ours"]);
    assert_eq!(response.field("x-hop"), None);
    assert_eq!(response.fields("connection"), ["close"]);
}

/// Fields whose names CGI and WSGI take for another's.
const IMITATIONS: &str = "X_User: root\r\nX-User_: root\r\nx_sallyport_zone: z\r\nX_Forwarded_For: 9.9.9.9\r\n\
     X.Request.Id: e\r\nX_Own: 1\r\nContent_Length: 5\r\n";

#[test]
fn nginx_ignore_invalid_headers_names_of_other_characters_go_no_further() {
    let origin = Origin::named("a");
    let seen = sent(&vouching(&origin, ""), &origin, IMITATIONS);
    assert_eq!(seen.fields("x-user"), ["ann"]);
    let odd = seen.head.lines().filter_map(|line| line.split_once(':'));
    let odd: Vec<_> = odd.filter(|(name, _)| name.contains(['_', '.'])).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn with_any_names_what_is_vouched_for_is_still_the_only_one_of_its_kind() {
    let origin = Origin::named("a");
    let seen = sent(&vouching(&origin, "header_names: any"), &origin, IMITATIONS);
    assert_eq!(seen.fields("x-user"), ["ann"]);
    for gone in ["x_user", "x_sallyport_zone", "x_forwarded_for", "x.request.id"] {
        assert_eq!(seen.fields(gone), [""; 0], "{}", seen.head);
    }
    assert_eq!(seen.fields("x_own"), ["1"], "{}", seen.head);
}

#[test]
fn the_family_of_forwarding_fields_is_the_gateways_own() {
    let origin = Origin::named("a");
    let family = ["Forwarded-Prefix", "Forwarded-Port", "Forwarded-Ssl", "Forwarded-Scheme"]
        .into_iter()
        .chain(["Forwarded-Server", "Forwarded", "Original-URL", "Rewrite-URL", "Real-IP"]);
    let family: Vec<String> = family.map(|name| format!("X-{name}")).collect();
    let fields: String = family.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let stranger = Gateway::start(&forward_all(&[origin.address]));
    let seen = sent(&stranger, &origin, &fields);
    for name in &family {
        assert_eq!(seen.fields(name), [""; 0], "{name}: {}", seen.head);
    }
    let trusting = Gateway::start(&trusting(&origin, "127.0.0.0/8"));
    let seen = sent(&trusting, &origin, &fields);
    for name in &family {
        assert_eq!(seen.fields(name), ["1"], "{name}: {}", seen.head);
    }
}

fn trusting(origin: &Origin, network: &str) -> String {
    forward_all(&[origin.address]).replace(
        "address: 127.0.0.1:0 }\nadmin",
        &format!("address: 127.0.0.1:0, trusted_proxies: [{network}] }}\nadmin"),
    )
}

#[test]
fn azure_writes_ports_into_x_forwarded_for_and_a_deny_list_still_holds() {
    let origin = Origin::named("a");
    let yaml = trusting(&origin, "127.0.0.0/8").replace(
        "    routes:\n",
        "    filters: [{ ip_access: { deny: [198.51.100.0/24, \"2001:db8::/32\"] } }]\n    routes:\n",
    );
    let gateway = Gateway::start(&yaml);
    let status = |chain: &str| {
        let lines: String =
            chain.split('|').map(|line| format!("X-Forwarded-For: {line}\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n");
        request(gateway.web(), &text).status
    };
    for (chain, expected) in [
        ("203.0.113.1:5", 200),
        ("198.51.100.7:51234", 403),
        ("[2001:db8::7]:443", 403),
        ("198.51.100.7|127.0.0.9", 403),
        ("198.51.100.7, 127.0.0.9:80|127.0.0.8", 403),
        ("203.0.113.1, unknown", 403),
        ("198.51.100.7, 203.0.113.1", 200),
    ] {
        assert_eq!(status(chain), expected, "{chain}");
    }
}

#[test]
fn a_second_request_id_does_not_pass_unchecked() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for second in ["${jndi:ldap://x}", "ok-2"] {
        let fields = format!("X-Request-Id: ok-1\r\nX-Request-Id: {second}\r\n");
        let ids = sent(&gateway, &origin, &fields).fields("x-request-id");
        assert!(matches!(&*ids, [id] if id.len() == 32), "{ids:?}");
    }
}
