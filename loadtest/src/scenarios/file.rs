//! The gateway's file in a scenario, and how it is replaced while the gateway serves.
//!
//! Owns every shape the file takes: what a scenario observes from outside (who answered, under which
//! version or split) is put into the answers by filters of the same file, so that an observation and
//! the configuration it belongs to cannot be confused.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The route that all scenarios ask for.
pub const ROUTE: &str = "everything";
/// The field of an answer that says which version of the file it was given under.
pub const VERSION_HEADER: &str = "x-version";
/// The field of an answer that says under which split, in percent, it was given.
pub const SPLIT_HEADER: &str = "x-split";
/// The field that users are told apart by.
pub const USER_HEADER: &str = "x-user";
/// The origin that gets the smaller share of a split.
pub const CANARY: &str = "canary";

/// Percent that goes to the canary, first and after the edit.
pub const SPLITS: [u32; 2] = [10, 50];

/// What the file says beside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Round robin over all origins.
    Plain,
    /// The same; the answers bear this number and so many other routes, up to fifty, come and go.
    Version(u64),
    /// A split between the last origin and the others.
    Split {
        /// Percent that goes to the last origin.
        canary: u32,
        /// Percent that the answers claim.
        claimed: u32,
    },
    /// Maglev by user; balanced at random if `kept` is false.
    ByUser {
        /// Whether a user keeps the endpoint.
        kept: bool,
    },
}

/// Where everybody listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The gateway, for clients.
    pub web: SocketAddr,
    /// The gateway, for operators.
    pub admin: SocketAddr,
    /// The origins.
    pub origins: Vec<SocketAddr>,
}

/// The file as text.
pub fn text(addresses: &Addresses, shape: Shape) -> String {
    let Addresses { web, admin, origins } = addresses;
    let mut file = format!(
        "listeners:\n  - {{ name: web, address: \"{web}\" }}\nadmin: {{ address: \"{admin}\", hosts: [loadtest.example] }}\n\
         upstreams:\n"
    );
    match (shape, origins.split_last()) {
        (Shape::Split { .. }, Some((canary, stable))) => {
            file += &upstream("stable", "round_robin", stable);
            file += &upstream(CANARY, "round_robin", &[*canary]);
        }
        _ => file += &upstream("origins", &policy(shape), origins),
    }
    file += "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n";
    for index in 0..passing(shape) {
        // Writing to a string cannot fail.
        writeln!(
            file,
            "      - {{ name: r{index}, match: {{ path: {{ exact: /r{index} }} }}, \
             respond: {{ status: 204 }} }}"
        )
        .ok();
    }
    file + &everything(shape)
}

/// Replaces the file as an operator's editor would: whole, by a rename.
///
/// # Errors
/// The folder cannot be written to.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text).with_context(|| beside.display().to_string())?;
    fs::rename(&beside, path).with_context(|| path.display().to_string())
}

fn policy(shape: Shape) -> String {
    match shape {
        Shape::ByUser { kept: true } => {
            format!("maglev, hash_on: {{ header: {USER_HEADER} }}")
        }
        Shape::ByUser { kept: false } => "random".to_owned(),
        _ => "round_robin".to_owned(),
    }
}

fn upstream(name: &str, policy: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints: String =
        endpoints.iter().map(|address| format!("      - {{ address: \"{address}\" }}\n")).collect();
    format!(
        "  - name: {name}\n    load_balancing: {{ policy: {policy} }}\n    endpoints:\n{endpoints}"
    )
}

/// How many routes beside the one that is asked for.
fn passing(shape: Shape) -> u64 {
    match shape {
        Shape::Version(version) => version % 50,
        _ => 0,
    }
}

fn everything(shape: Shape) -> String {
    let marked = match shape {
        Shape::Version(version) => Some((VERSION_HEADER, version)),
        Shape::Split { claimed, .. } => Some((SPLIT_HEADER, u64::from(claimed))),
        Shape::Plain | Shape::ByUser { .. } => None,
    };
    let filters = marked.map_or(String::new(), |(field, value)| {
        format!(
            "        filters: [{{ headers: {{ response: {{ set: {{ {field}: \"{value}\" }} }} }} }}]\n"
        )
    });
    let to = match shape {
        Shape::Split { canary, .. } => {
            let stable = 100 - canary;
            format!(
                "split: [{{ upstream: stable, weight: {stable} }}, \
                 {{ upstream: {CANARY}, weight: {canary} }}]"
            )
        }
        _ => "upstream: origins".to_owned(),
    };
    format!("      - name: {ROUTE}\n{filters}        forward: {{ {to}, retries: 2 }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(shape: Shape) -> String {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let origins = vec![address(9001), address(9002), address(9003)];
        text(&Addresses { web: address(8080), admin: address(9901), origins }, shape)
    }

    #[test]
    fn a_plain_file_has_one_route_to_all_origins() {
        let plain = file(Shape::Plain);
        assert_eq!(plain.matches("- name: ").count(), 3, "{plain}");
        assert_eq!(plain.matches("127.0.0.1:900").count(), 3);
        assert!(plain.contains("forward: { upstream: origins, retries: 2 }"));
        assert!(!plain.contains("filters"));
    }

    #[test]
    fn a_version_is_in_the_answers_and_in_the_number_of_routes() {
        let third = file(Shape::Version(3));
        assert!(third.contains("set: { x-version: \"3\" }"), "{third}");
        assert_eq!(third.matches("respond:").count(), 3);
        assert_eq!(file(Shape::Version(50)).matches("respond:").count(), 0);
    }

    #[test]
    fn a_split_takes_the_last_origin_for_the_canary() {
        let split = file(Shape::Split { canary: 10, claimed: 10 });
        assert!(
            split.contains("stable, weight: 90 }, { upstream: canary, weight: 10 }"),
            "{split}"
        );
        let (_, canary) = split.split_once("name: canary").unwrap();
        assert!(canary.contains("9003") && !canary.contains("9002"));
        assert!(split.contains("x-split: \"10\""));
    }

    #[test]
    fn users_are_kept_by_hashing_on_their_field() {
        assert!(file(Shape::ByUser { kept: true }).contains("hash_on: { header: x-user }"));
        assert!(file(Shape::ByUser { kept: false }).contains("policy: random"));
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        replace(&path, "one\n").unwrap();
        replace(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
