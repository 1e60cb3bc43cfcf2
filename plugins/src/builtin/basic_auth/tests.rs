use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request};
use tokio::sync::Semaphore;

use super::credentials::Credentials;
use super::recent::Recent;
use super::users::{LineError, Users};
use super::{BasicAuth, KIND};
use crate::chain::Step;
use crate::exchange::{About, Exchange, Marks};
use crate::filter::{Filter, Flow};
use crate::testing::{Tried, problems};

const CONFIG: &str =
    "{ file: src/builtin/basic_auth/cheap.txt, realm: staff, user_header: x-user }";

/// "a" 72 times, at bcrypt's least cost.
const LONGEST: &str = "$2y$04$a0DqZFjuZ1HyGET2WUzuZ.QKDKNxAnn06BrMnYfZO5lTyg2USxrA6";

/// "pass", at little cost.
const CHEAP: &str = "$argon2id$v=19$m=16,t=1,p=1$c2FsbHlwb3J0IGV4YW1wbA$6kNO96/Or2J+jlhVEsPUybs+aJj5EYSMZ8W182t+ZII";

fn basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// A good name and password.
fn ann() -> String {
    format!("ann:{}", "a".repeat(72))
}

fn asked(value: &str) -> (Tried, Step) {
    let mut tried = Tried::new(&KIND, CONFIG);
    tried.header("authorization", value);
    tried.header("x-user", "forged");
    let step = tried.request();
    (tried, step)
}

fn refusal(step: Step) -> String {
    match step {
        Step::Answer(answer) => format!("{answer:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_passwords_pass_and_do_not_go_upstream() {
    for (credentials, user) in [(ann(), "ann"), ("jörg:pass".to_owned(), "jörg")] {
        let (tried, step) = asked(&basic(credentials));
        assert!(matches!(step, Step::Continue));
        assert_eq!(tried.request.headers["x-user"].as_bytes(), user.as_bytes());
        assert!(!tried.request.headers.contains_key("authorization"));
    }
}

#[test]
fn the_second_request_is_not_hashed() {
    let filter = filter(1, 1);
    filter.recent.add(&credentials("a", "pass"), Instant::now());
    ask(&filter, "pass", |flow| assert!(matches!(flow, Flow::Continue)));
    ask(&filter, "word", |flow| assert!(matches!(flow, Flow::Wait(_))));
}

#[test]
fn every_refusal_looks_the_same() {
    let expected = refusal(Tried::new(&KIND, CONFIG).request());
    assert!(expected.contains("401"));
    let long = "x".repeat(5000);
    for value in [
        basic("ann:sesame"),
        basic("ann:"),
        basic(ann().replace("ann", "bob")),
        basic(":"),
        basic(""),
        basic("ann"),
        basic(ann() + "\0"),
        basic(b"ann:\xff\xfe"),
        basic(format!("ann:{}", "x".repeat(100))),
        basic(format!("ann:{long}")),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic ***".to_owned(),
        "Bearer abc".to_owned(),
    ] {
        let (tried, step) = asked(&value);
        assert_eq!(refusal(step), expected, "{value}");
        assert!(!tried.request.headers.contains_key("x-user"));
    }
}

#[test]
fn two_fields_and_bytes_that_are_no_text_are_refused_alike() {
    let expected = refusal(Tried::new(&KIND, CONFIG).request());
    for second in [basic(ann()).into_bytes(), b"Basic \xff".to_vec()] {
        let mut tried = Tried::new(&KIND, CONFIG);
        tried.header("authorization", &basic(ann()));
        let second = HeaderValue::from_bytes(&second).unwrap();
        tried.request.headers.append("authorization", second);
        assert_eq!(refusal(tried.request()), expected);
    }
}

fn users(text: &str) -> Users {
    let (users, errors) = Users::parse(text);
    assert_eq!(errors, []);
    users
}

fn credentials(name: &str, password: &str) -> Credentials {
    Credentials { name: name.into(), password: password.into() }
}

#[test]
fn bcrypt_takes_no_more_than_it_looks_at() {
    let users = users(&format!("a:{LONGEST}"));
    assert!(users.knows(&credentials("a", &"a".repeat(72))));
    assert!(!users.knows(&credentials("a", &"a".repeat(73))));
}

#[test]
fn an_unknown_name_has_a_hash_too_and_no_password() {
    let users = users(&format!("a:{CHEAP}"));
    assert!(users.knows(&credentials("a", "pass")));
    let (hash, is_known) = users.hash_of("b");
    assert!(!is_known && format!("{hash:?}") == "argon2id");
    assert!(!users.knows(&credentials("b", "pass")));
}

#[test]
fn lines_that_are_wrong_are_told_apart() {
    let cut = &LONGEST[..59];
    for (line, error) in [
        ("ann".to_owned(), LineError::NoColon),
        (format!(":{CHEAP}"), LineError::Name),
        (format!("b:{CHEAP}\nb:{CHEAP}"), LineError::Twice),
        ("b:$apr1$x$y".to_owned(), LineError::UnknownHash),
        ("b:secret".to_owned(), LineError::UnknownHash),
        (format!("b:{}", CHEAP.replace("argon2id", "argon2i")), LineError::UnknownHash),
        (format!("b:{cut}"), LineError::Malformed),
        (format!("b:{}", LONGEST.replace("$04$", "$03$")), LineError::Malformed),
        (format!("b:{}", LONGEST.replace("$04$", "$31$")), LineError::Cost(31)),
        (format!("b:{}", CHEAP.replace("m=16,", "m=300000,")), LineError::Memory(300_000)),
        (format!("b:{}", CHEAP.replace("t=1,", "t=17,")), LineError::Passes),
        ("b:$argon2id$v=19$m=16,t=1,p=1".to_owned(), LineError::Malformed),
        ("b:$argon2id$".to_owned(), LineError::Malformed),
    ] {
        let errors: Vec<_> = Users::parse(&line).1.into_iter().map(|(_, error)| error).collect();
        assert_eq!(errors, [error], "{line}");
    }
}

#[test]
fn a_file_without_users_is_a_problem() {
    let folder = tempfile();
    std::fs::write(folder.join("nobody.txt"), "# nobody\n\n").unwrap();
    let said = problems(&KIND, "{ file: nobody.txt, realm: a }", &folder);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(said.contains("names nobody"), "{said}");
}

fn tempfile() -> std::path::PathBuf {
    let name = format!("sallyport-basic-auth-{}", std::process::id());
    let folder = Path::new(&std::env::temp_dir()).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_memory_ends_after_a_minute() {
    let (recent, now) = (Recent::default(), Instant::now());
    recent.add(&credentials("ab", "c"), now);
    assert!(recent.has(&credentials("ab", "c"), now + Duration::from_secs(59)));
    assert!(!recent.has(&credentials("ab", "c"), now + Duration::from_secs(60)));
    assert!(!recent.has(&credentials("a", "bc"), now));
    for user in 0..5000 {
        recent.add(&credentials(&user.to_string(), ""), now);
    }
    assert!(!recent.has(&credentials("4999", ""), now), "it is bounded");
    recent.add(&credentials("late", ""), now + Duration::from_secs(61));
    assert!(recent.has(&credentials("late", ""), now + Duration::from_secs(61)));
}

fn filter(at_once: usize, queue: usize) -> BasicAuth {
    BasicAuth {
        users: Arc::new(users(&format!("a:{CHEAP}"))),
        recent: Recent::default(),
        queue: Arc::new(Semaphore::new(at_once + queue)),
        running: Arc::new(Semaphore::new(at_once)),
        challenge: HeaderValue::from_static("Basic"),
        user_header: None,
        forward: true,
    }
}

/// What `filter` says to a request, before anything is waited for.
fn ask<T>(filter: &BasicAuth, password: &str, then: impl FnOnce(Flow<'_>) -> T) -> T {
    let mut request = Request::new(()).into_parts().0;
    let value = basic(format!("a:{password}")).parse().unwrap();
    request.headers.insert("authorization", value);
    let (about, mut marks, mut slot) = (About::nothing(), Marks::default(), None);
    let x = Exchange { request: &mut request, about: &about, marks: &mut marks, slot: &mut slot };
    then(filter.request_headers(x))
}

#[test]
fn beyond_the_queue_the_answer_is_503() {
    let filter = filter(1, 1);
    let places = filter.queue.try_acquire_many(2).unwrap();
    ask(&filter, "pass", |flow| match flow {
        Flow::Answer(answer) => {
            assert_eq!(answer.status, 503);
            assert!(answer.headers.iter().any(|(name, _)| name == "retry-after"));
        }
        _ => panic!("it waits"),
    });
    drop(places);
    ask(&filter, "pass", |flow| assert!(matches!(flow, Flow::Wait(_))));
    assert_eq!(filter.queue.available_permits(), 2, "a client that goes away gives its place back");
}

/// How long a password takes, and how long one that is remembered:
/// `cargo test --release -- --ignored --nocapture basic_auth`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    let config = "{ file: src/builtin/basic_auth/users.txt, realm: staff }";
    for value in ["ann:open sesame", "jörg:größe"] {
        let mut tried = Tried::new(&KIND, config);
        let mut ask = || {
            tried.header("authorization", &basic(value));
            let begun = Instant::now();
            assert!(matches!(tried.request(), Step::Continue));
            begun.elapsed()
        };
        eprintln!("{value}: {:?} for the first", ask());
        let rest: Duration = (0..10_000).map(|_| ask()).sum();
        eprintln!("{value}: {:?} afterwards", rest / 10_000);
    }
}
