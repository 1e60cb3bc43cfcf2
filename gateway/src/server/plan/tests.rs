use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn planner<'r>(running: Vec<(&'r str, SocketAddr, &'r Bound)>) -> Planner<'r> {
    Planner { running, bound: Vec::new(), problems: Vec::new() }
}

fn listen(planner: &mut Planner<'_>, name: &str, configured: SocketAddr) -> Option<Bound> {
    let planned = planner.listen(&name.into(), configured, 2, || "listeners[0].address".into());
    planned.map(|planned| planned.bound)
}

#[test]
fn sockets_stay_with_their_address_whatever_the_listener_is_called() {
    let any_port = address("127.0.0.1:0");
    let bound = Bound::new(any_port, 2).unwrap();
    let fixed = bound.address();
    let mut planner = planner(vec![("web", fixed, &bound)]);
    for name in ["web", "renamed"] {
        assert!(listen(&mut planner, name, fixed).unwrap().shares_sockets(&bound), "{name}");
    }
    let mut planner = Planner { running: vec![("web", any_port, &bound)], ..planner };
    assert!(listen(&mut planner, "web", any_port).unwrap().shares_sockets(&bound));
    // Another listener on any port wants a port of its own.
    assert!(!listen(&mut planner, "other", any_port).unwrap().shares_sockets(&bound));
}

#[test]
fn a_port_of_ours_may_be_shared_and_that_of_others_not() {
    let others = Bound::new(address("127.0.0.1:0"), 2).unwrap();
    let everywhere = address(&format!("0.0.0.0:{}", others.address().port()));
    let mut unaware = planner(Vec::new());
    assert!(listen(&mut unaware, "web", others.address()).is_none());
    assert!(listen(&mut unaware, "web", everywhere).is_none());
    let [problem, _] = &unaware.problems[..] else { panic!("{:?}", unaware.problems) };
    assert_eq!(problem.place, "listeners[0].address");
    assert!(problem.what.starts_with("cannot listen on 127.0.0.1:"), "{problem:?}");
    assert!(problem.fix.contains("ss -ltnp"), "{problem:?}");
    let mut ours = planner(vec![("web", others.address(), &others)]);
    assert!(listen(&mut ours, "web", everywhere).is_some(), "{:?}", ours.problems);
}

#[test]
fn an_address_of_another_host_is_a_problem_with_a_remedy() {
    let mut planner = planner(Vec::new());
    assert!(listen(&mut planner, "web", address("192.0.2.1:8080")).is_none());
    assert!(planner.problems[0].fix.contains("such as 0.0.0.0:8080"), "{:?}", planner.problems);
}
