//! `/openapi.json` and `/`: what there is on the admin listener, out of one table.

mod parameter;

use serde_json::{Map, Value, json};

use self::parameter::{Parameter, Place, like, number, one_of, query, repeated, required, segment};
use super::json::Json;
use super::problem;
use super::query::{OFFSET_MAX, ROWS_MAX};

/// What can be asked.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    /// Statuses beyond those that every operation may answer with.
    answers: &'static [(u16, Body)],
}

#[derive(Clone, Copy)]
enum Body {
    Nothing,
    Text,
    /// HTML or text, by what is accepted.
    Page,
    /// Server-sent events.
    Events,
    Object,
    /// An object, or a file of YAML, by what is asked for.
    ObjectOrFile,
    List,
    Problem,
}

const SEARCH: Parameter = query("search", "Text that names contain, in any case", "checkout");
const OFFSET: Parameter = number(query("offset", "Rows that are skipped", "0"), OFFSET_MAX as u64);
const LIMIT: Parameter = number(query("limit", "Rows at most", "50"), ROWS_MAX as u64);
/// Levels, each perhaps of one target.
const LEVELS: &str = "^([a-z_]+=)?(off|error|warn|info|debug|trace)\
                      (,([a-z_]+=)?(off|error|warn|info|debug|trace))*$";

const PAGED: [Parameter; 3] = [SEARCH, OFFSET, LIMIT];

const NOW: [Parameter; 9] = [
    one_of(
        query("of", "What the rows are of; routes by default", "routes"),
        &["virtual_hosts", "routes", "upstreams"],
    ),
    SEARCH,
    one_of(
        query(
            "sort",
            "What the rows are sorted by; their order in the file by default",
            "requests",
        ),
        &[
            "configuration",
            "name",
            "requests",
            "errors",
            "client_errors",
            "active",
            "p50",
            "p99",
            "p999",
        ],
    ),
    one_of(
        query("order", "desc is the default but for configuration and name", "desc"),
        &["asc", "desc"],
    ),
    OFFSET,
    LIMIT,
    query("virtual_host", "The virtual host whose figures are told beside the rows", "shop"),
    query("route", "A route of that virtual host", "checkout"),
    query("upstream", "Or an upstream", "api"),
];

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/",
        summary: "The page, for who accepts text/html; otherwise what there is here, a line each",
        parameters: &[],
        answers: &[(200, Body::Page)],
    },
    Operation {
        method: "get",
        path: "/now",
        summary: "Requests, errors and latencies of the last five to ten seconds",
        parameters: &NOW,
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/live",
        summary: "The same every second, as server-sent events; at most 50 at once",
        parameters: &NOW,
        answers: &[(200, Body::Events), (503, Body::Problem)],
    },
    Operation {
        method: "get",
        path: "/now/history",
        summary: "The last hour of everything, or of one virtual host, route or upstream",
        parameters: &[
            query("virtual_host", "A virtual host", "shop"),
            query("route", "A route of that virtual host", "checkout"),
            query("upstream", "An upstream", "api"),
        ],
        answers: &[(200, Body::Object), (404, Body::Problem)],
    },
    Operation {
        method: "get",
        path: "/origins",
        summary: "Upstreams and endpoints: health, ejections, retries, queues",
        parameters: &PAGED,
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/certificates",
        summary: "Certificates of listeners, those that expire first in front",
        parameters: &PAGED,
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/connections",
        summary: "Clients' connections by listener, and by worker",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/process",
        summary: "What the process takes: CPU time, memory, descriptors",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/door",
        summary: "What the classifier sees and drops: zones, networks, top sources, reasons",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/rights",
        summary: "Whether the token that is shown allows changes",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/metrics",
        summary: "Everything that is counted, for Prometheus",
        parameters: &[repeated(query(
            "name[]",
            "A metric that is wanted; without any, all are",
            "sallyport_route_requests_total",
        ))],
        answers: &[(200, Body::Text)],
    },
    Operation {
        method: "get",
        path: "/healthz",
        summary: "Whether the process answers",
        parameters: &[],
        answers: &[(200, Body::Text)],
    },
    Operation {
        method: "get",
        path: "/readyz",
        summary: "Whether new connections are wanted: 503 from the beginning of a drain",
        parameters: &[],
        answers: &[(200, Body::Text), (503, Body::Text)],
    },
    Operation {
        method: "post",
        path: "/drain",
        summary: "Says that nothing new is wanted: /readyz is 503, answers close their connections",
        parameters: &[],
        answers: &[(204, Body::Nothing)],
    },
    Operation {
        method: "post",
        path: "/undrain",
        summary: "Takes that back",
        parameters: &[],
        answers: &[(204, Body::Nothing), (409, Body::Problem)],
    },
    Operation {
        method: "post",
        path: "/upgrade",
        summary: "Starts the binary now on disk, which takes over; answers once it serves",
        parameters: &[],
        answers: &[(200, Body::Object), (409, Body::Problem)],
    },
    Operation {
        method: "get",
        path: "/config",
        summary: "The configuration in force, and why a later one was refused",
        parameters: &[one_of(
            query("format", "yaml is the effective configuration alone, as a file", "json"),
            &["json", "yaml"],
        )],
        answers: &[(200, Body::ObjectOrFile)],
    },
    Operation {
        method: "get",
        path: "/config/history",
        summary: "The latest 50 configurations, what each changed, and why some were refused",
        parameters: &[],
        answers: &[(200, Body::List)],
    },
    Operation {
        method: "get",
        path: "/routes",
        summary: "Virtual hosts and routes, with their requests",
        parameters: &[],
        answers: &[(200, Body::List)],
    },
    Operation {
        method: "get",
        path: "/upstreams",
        summary: "Upstreams and endpoints, with their health",
        parameters: &[],
        answers: &[(200, Body::List)],
    },
    Operation {
        method: "get",
        path: "/explain",
        summary: "What becomes of a request, and why",
        parameters: &[
            required(query("host", "What the request is for", "shop.example.com")),
            required(query("path", "Its path, with its query", "/cart?x=1")),
            query("method", "Its method; GET by default", "POST"),
            repeated(query("header", "A field of it", "x-user: ann")),
            query("client", "Who sends it, as IP or IP:PORT", "192.0.2.10"),
            query(
                "sni",
                "The name that the client asks for in its TLS handshake",
                "shop.example.com",
            ),
            query("listener", "Which listener takes it; the first by default", "web"),
            like(
                repeated(query("hint", "What the classifier says of it", "network=office")),
                "^[a-z0-9_]+=.*$",
            ),
        ],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/verdicts",
        summary: "Sources that are shut out",
        parameters: &[],
        answers: &[(200, Body::List)],
    },
    Operation {
        method: "delete",
        path: "/verdicts/{address}",
        summary: "Lets a source in again",
        parameters: &[segment(
            "address",
            "An IP address, or a prefix whose slash is written %2F",
            "192.0.2.10",
        )],
        answers: &[(204, Body::Nothing), (404, Body::Problem)],
    },
    Operation {
        method: "get",
        path: "/log",
        summary: "What the process logs, and how",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "put",
        path: "/log",
        summary: "Logs more or less from now on",
        parameters: &[like(
            required(query(
                "level",
                "off, error, warn, info, debug or trace, or a list such as info,sallyport=debug",
                "debug",
            )),
            LEVELS,
        )],
        answers: &[(200, Body::Object)],
    },
    Operation {
        method: "get",
        path: "/openapi.json",
        summary: "This description",
        parameters: &[],
        answers: &[(200, Body::Object)],
    },
];

/// A line for each operation.
pub(super) fn lines() -> String {
    OPERATIONS.iter().map(line).collect()
}

fn line(operation: &Operation) -> String {
    let queries = operation.parameters.iter().filter(|it| matches!(it.place, Place::Query));
    let queries = queries.enumerate().map(|(index, it)| {
        let sign = if index == 0 { '?' } else { '&' };
        let (name, value) = (it.name, it.name.trim_end_matches("[]").to_ascii_uppercase());
        match it.is_required {
            true => format!("{sign}{name}={value}"),
            false => format!("[{sign}{name}={value}]"),
        }
    });
    let method = match operation.method {
        "get" => String::new(),
        other => format!("{} ", other.to_ascii_uppercase()),
    };
    format!("{method}{}{}\n", operation.path, queries.collect::<String>())
}

/// OpenAPI 3.1.
pub(super) async fn document() -> Json<Value> {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sallyport's admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem_schema() },
        },
        // A token is asked for where the configuration has one.
        "security": [{}, { "token": [] }],
    }))
}

fn described(operation: &Operation) -> Value {
    let common = [(400, Body::Problem), (401, Body::Problem), (403, Body::Problem)];
    let failures = [(500, Body::Problem)];
    let answers = operation.answers.iter().chain(&common).chain(&failures);
    let answers: Map<String, Value> =
        answers.map(|(status, body)| (status.to_string(), answer(*status, *body))).collect();
    json!({
        "summary": operation.summary,
        "operationId": id(operation),
        "parameters": operation.parameters.iter().map(Parameter::described).collect::<Vec<_>>(),
        "responses": answers,
    })
}

/// Such as `put_log`.
fn id(operation: &Operation) -> String {
    let words = operation.path.split(|it: char| !it.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!(
        "{}_{}",
        operation.method,
        if words.is_empty() { "index".into() } else { words.join("_") }
    )
}

fn answer(status: u16, body: Body) -> Value {
    let said = axum::http::StatusCode::from_u16(status).ok();
    let said = said.and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
    let (media, schema) = match body {
        Body::Nothing => return json!({ "description": said }),
        Body::Text => ("text/plain", json!({ "type": "string" })),
        Body::Page => {
            let text = json!({ "schema": { "type": "string" } });
            let content = json!({ "text/plain": text, "text/html": text });
            return json!({ "description": said, "content": content });
        }
        Body::Events => ("text/event-stream", json!({ "type": "string" })),
        Body::Object => ("application/json", json!({ "type": "object" })),
        Body::ObjectOrFile => {
            let object = json!({ "schema": { "type": "object" } });
            let content = json!({ "application/json": object, "application/yaml": object });
            return json!({ "description": said, "content": content });
        }
        Body::List => ("application/json", json!({ "type": "array" })),
        Body::Problem => (problem::MEDIA_TYPE, json!({ "$ref": "#/components/schemas/Problem" })),
    };
    json!({ "description": said, "content": { media: { "schema": schema } } })
}

/// RFC 9457.
fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string" },
        },
    })
}
