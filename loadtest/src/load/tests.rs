use super::*;

const CLEAN: &str = "\
Running 1s test @ http://127.0.0.1:18999/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.53ms    1.13ms   6.54ms   86.93%
    Req/Sec    31.08k     8.32k   44.18k    70.00%
  Latency Distribution
     50%  987.00us
     75%    1.35ms
     90%    3.22ms
     99%    5.96ms
  30983 requests in 1.01s, 4.58MB read
Requests/sec:  30817.94
Transfer/sec:      4.56MB
";

const TROUBLED: &str = "\
Running 2s test @ http://127.0.0.1:18999/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.17ms    2.99ms  21.70ms   64.38%
    Req/Sec     6.10k   398.44     6.54k    70.00%
  Latency Distribution
     50%    6.17ms
     75%    8.33ms
     90%   10.21ms
     99%    1.02s
  6312 requests in 1.05s, 0.90MB read
  Socket errors: connect 1, read 20, write 300, timeout 4000
  Non-2xx or 3xx responses: 50000
Requests/sec:   6038.90
Transfer/sec:      0.86MB
";

fn load(close: bool) -> Load {
    Load { cpu: 1, connections: 64, path: "/r050/x".to_owned(), script: None, close, tls: false }
}

#[test]
fn a_clean_report_is_read_whole() {
    let outcome = parse(CLEAN).unwrap();
    assert_eq!(outcome.requests, 30_983);
    assert!((outcome.duration_s - 1.01).abs() < 1e-9);
    assert!((outcome.p50_us - 987.0).abs() < 1e-9);
    assert!((outcome.p99_us - 5960.0).abs() < 1e-9);
    assert_eq!(outcome.errors.total(), 0);
}

#[test]
fn every_kind_of_error_is_counted() {
    let outcome = parse(TROUBLED).unwrap();
    let expected = Errors { connect: 1, read: 20, write: 300, timeout: 4000, status: 50_000 };
    assert_eq!(outcome.errors, expected);
    assert_eq!(outcome.errors.total(), 54_321);
    assert!((outcome.p99_us - 1_020_000.0).abs() < 1e-6);
}

#[test]
fn a_report_that_cannot_be_read_is_no_outcome() {
    assert_eq!(parse("unable to connect to 127.0.0.1:18999 Connection refused\n"), None);
    assert_eq!(parse(&CLEAN.replace("99%    5.96ms", "")), None);
    assert_eq!(parse(&CLEAN.replace("5.96ms", "5.96 parsecs")), None);
    assert_eq!(parse(&TROUBLED.replace("read 20", "read many")), None);
}

#[test]
fn times_have_five_units() {
    let expected = [("635.91us", 635.91), ("1.50ms", 1500.0), ("4.00s", 4e6), ("2.00m", 120e6)];
    for (text, value_us) in expected {
        assert!((time_us(text).unwrap() - value_us).abs() < 1e-6, "{text}");
    }
    assert_eq!(time_us("12"), None);
}

#[test]
fn connections_are_closed_only_on_request() {
    let target: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let kept = load(false).command(target, 4).join(" ");
    assert_eq!(kept, "wrk -t 1 -c 64 -d 4 --latency http://127.0.0.1:8080/r050/x");
    let scripted = Load { script: Some("/tmp/paths.lua".into()), ..load(false) };
    assert!(scripted.command(target, 4).join(" ").contains("-s /tmp/paths.lua http://"));
    assert!(load(true).command(target, 4).join(" ").contains("-H Connection: close"));
}
