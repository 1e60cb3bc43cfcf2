//! How a cluster chooses endpoints.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{self, Map, number, text};

/// What stands under `load_balancing`, and beside it.
#[derive(Default)]
pub(super) struct Balancing {
    pub(super) written: Option<Value>,
    pub(super) slow_start: Option<Value>,
    /// `outlier_detection.panic_below`.
    pub(super) panic_below: Option<Value>,
}

/// A policy with what is set of it.
#[derive(Default)]
struct Policy {
    name: &'static str,
    table_size: Option<u64>,
    slow_start: Option<Value>,
}

/// Reads the policy of a cluster whose routes hash on `hash_on`.
pub(super) fn read(fields: &Fields<'_>, hash_on: &Option<Value>) -> Option<Balancing> {
    let policy = match fields.message("load_balancing_policy") {
        Some(policies) => {
            fields.choice("lb_policy");
            typed(&policies)
        }
        None => by_name(fields),
    };
    let panic_below = fields.message("common_lb_config").and_then(|common| common_config(&common));
    let policy = policy?;
    let hashes = matches!(policy.name, "maglev" | "ring_hash");
    let mut written = Map::new().with("policy", text(policy.name));
    if hashes {
        written.put_some("hash_on", hash_on.clone());
        written.put_some("table_size", policy.table_size.map(number));
    }
    Some(Balancing { written: Some(written.done()), slow_start: policy.slow_start, panic_below })
}

fn by_name(fields: &Fields<'_>) -> Option<Policy> {
    let name = match fields.choice("lb_policy").as_deref() {
        None => "round_robin",
        Some("LEAST_REQUEST") => "least_request",
        Some("RING_HASH") => "ring_hash",
        Some("RANDOM") => "random",
        Some("MAGLEV") => "maglev",
        Some(other) => {
            return fields.reject(format!(
                "lb_policy is {other}, write ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH or MAGLEV"
            ));
        }
    };
    let mut policy = Policy { name, ..Policy::default() };
    for name in ["round_robin_lb_config", "least_request_lb_config"] {
        if let Some(config) = fields.message(name) {
            if name == "least_request_lb_config" {
                least_request(&config);
            }
            policy.slow_start = slow_start(&config);
        }
    }
    if let Some(config) = fields.message("maglev_lb_config") {
        policy.table_size = config.uint("table_size");
    }
    if let Some(config) = fields.message("ring_hash_lb_config") {
        ring(&config);
    }
    Some(policy)
}

fn least_request(config: &Fields<'_>) {
    config.ignore("choice_count", "two endpoints are compared");
    config.ignore("active_request_bias", "weights are shares of the draw");
}

fn ring(config: &Fields<'_>) {
    config.ignore_all(&["minimum_ring_size", "maximum_ring_size"], "the ring has its own size");
    config.ignore("hash_function", "keys are hashed by XXH3");
}

fn slow_start(config: &Fields<'_>) -> Option<Value> {
    let config = config.message("slow_start_config")?;
    config.ignore_all(&["aggression", "min_weight_percent"], "the share grows evenly");
    config.time("slow_start_window").and_then(output::time)
}

/// The first of the policies that is known here, as Envoy chooses too.
fn typed(policies: &Fields<'_>) -> Option<Policy> {
    let mut chosen = None;
    let all = policies.messages("policies");
    for one in &all {
        let Some(extension) = one.message("typed_extension_config") else { continue };
        extension.text("name");
        let Some(config) = extension.any("typed_config") else { continue };
        if chosen.is_some() {
            config.leave("a policy before it is known");
            continue;
        }
        match typed_one(&config) {
            Some(policy) => chosen = Some(policy),
            None if all.len() > 1 => config.leave("is not known here, the next one is taken"),
            None => {
                config.reject::<()>("is no policy that is known here");
            }
        }
    }
    chosen
}

fn typed_one(config: &Fields<'_>) -> Option<Policy> {
    let name = match config.type_name().rsplit('.').next() {
        Some("RoundRobin") => "round_robin",
        Some("LeastRequest") => "least_request",
        Some("Random") => "random",
        Some("RingHash") => "ring_hash",
        Some("Maglev") => "maglev",
        Some("WrrLocality") => return typed(&config.message("endpoint_picking_policy")?),
        _ => return None,
    };
    let mut policy = Policy { name, ..Policy::default() };
    let localities = "endpoints are chosen by weight and priority, wherever they are";
    match name {
        "round_robin" => policy.slow_start = slow_start(config),
        "least_request" => {
            least_request(config);
            config.ignore_all(
                &["enable_full_scan", "selection_method"],
                "two endpoints are compared",
            );
            policy.slow_start = slow_start(config);
        }
        "ring_hash" => {
            ring(config);
            config.ignore_all(
                &["use_hostname_for_hashing", "hash_balance_factor"],
                "endpoints are told apart by their address",
            );
        }
        "maglev" => policy.table_size = config.uint("table_size"),
        _ => {}
    }
    match name {
        "ring_hash" | "maglev" => {
            if let Some(common) = config.message("consistent_hashing_lb_config") {
                hashing_config(&common);
                common.refuse("hash_policy", "what is hashed on is said on routes");
            }
            config.ignore("locality_weighted_lb_config", localities);
        }
        _ => config.ignore("locality_lb_config", localities),
    }
    Some(policy)
}

fn hashing_config(config: &Fields<'_>) {
    config.ignore("use_hostname_for_hashing", "endpoints are told apart by their address");
    config.ignore("hash_balance_factor", "a key goes to its endpoint, however busy that is");
}

/// Reads what all policies share; returns `panic_below`.
fn common_config(common: &Fields<'_>) -> Option<Value> {
    common.ignore_all(
        &["zone_aware_lb_config", "locality_weighted_lb_config"],
        "endpoints are chosen by weight and priority, wherever they are",
    );
    common.ignore("update_merge_window", "changes of endpoints are in force at once");
    common.ignore("ignore_new_hosts_until_first_hc", "a new endpoint is used until a probe fails");
    common.ignore("close_connections_on_host_set_change", "requests under way end by themselves");
    common.ignore("override_host_status", "`sticky` goes by what is healthy");
    if let Some(hashing) = common.message("consistent_hashing_lb_config") {
        hashing_config(&hashing);
    }
    let percent = common.message("healthy_panic_threshold")?.double("value").unwrap_or(0.0);
    Some(text(format!("{}%", percent.round().clamp(0.0, 100.0) as u8)))
}
