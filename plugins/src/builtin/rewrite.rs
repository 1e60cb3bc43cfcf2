#![doc = include_str!("rewrite/README.md")]

use std::sync::Arc;

use http::uri::{Authority, Parts};
use http::{HeaderValue, StatusCode, Uri, header};
use regex::Regex;
use sallyport_config::{Node, Sink, schema};
use sallyport_route::normalise_path;

use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod replacement;
mod spec;

pub use spec::{PathSpec, RewriteSpec};

/// `rewrite:` in `filters:`.
pub const KIND: Kind = Kind { name: "rewrite", read, schema: schema::settings::<RewriteSpec> };

/// Sends requests to another path or host.
#[derive(Debug)]
struct Rewrite {
    path: Option<Path>,
    host: Option<Host>,
}

#[derive(Debug)]
enum Path {
    /// Both without a slash at the end, so that the root is empty.
    Prefix {
        prefix: String,
        with: String,
    },
    Regex {
        regex: Regex,
        with: String,
    },
}

/// The host in the two places that a request has for it.
#[derive(Debug)]
struct Host {
    field: HeaderValue,
    authority: Authority,
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let path = fields.optional(sink, "path", path);
        let host = fields.optional(sink, "host", host);
        if !fields.has("path") && !fields.has("host") {
            return node.refuse(sink, "changes nothing", "write `path:` or `host:`");
        }
        Some(Arc::new(Rewrite { path, host }) as Arc<dyn Filter>)
    })
}

fn path(node: Node<'_>, sink: &mut Sink) -> Option<Path> {
    node.mapping(sink, |fields, sink| {
        let prefix = fields.optional(sink, "prefix", segments);
        let regex = fields.optional(sink, "regex", |node, sink| {
            let whole = |text: &str| Regex::new(&format!("^(?:{text})$"));
            node.parsed(sink, "write a regular expression for the whole path", whole)
        });
        let by_regex = fields.has("regex");
        let with = fields.required(sink, "with", |node, sink| {
            if by_regex {
                replacement::read(node, sink, regex.as_ref())
            } else {
                segments(node, sink)
            }
        });
        fields.exactly_one(sink, &["prefix", "regex"])?;
        let with = with?;
        match (prefix, regex) {
            (Some(prefix), None) => Some(Path::Prefix { prefix, with }),
            (None, Some(regex)) => Some(Path::Regex { regex, with }),
            _ => None,
        }
    })
}

/// A path as requests have it, without its slash at the end.
fn segments(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    const FIX: &str = "write a path that begins with /, as it would come in a request";
    node.parsed(sink, FIX, |text| normalise_path(text.as_bytes()).map(|path| path.into_owned()))
        .map(|path| path.trim_end_matches('/').to_owned())
}

fn host(node: Node<'_>, sink: &mut Sink) -> Option<Host> {
    let text = node.name(sink)?;
    let authority = text.parse::<Authority>().ok().filter(|host| !host.as_str().contains('@'));
    match (authority, HeaderValue::from_str(&text)) {
        (Some(authority), Ok(field)) => Some(Host { field, authority }),
        _ => {
            let fix = "write a name such as app.internal, with :PORT if the origin asks for it";
            node.refuse(sink, format!("{text:?} is no host"), fix)
        }
    }
}

impl Path {
    /// Where `path` goes; `None` where it is left alone.
    fn rewritten(&self, path: &str) -> Option<String> {
        match self {
            Self::Prefix { prefix, with } => {
                let rest = path.strip_prefix(prefix.as_str())?;
                if !rest.is_empty() && !rest.starts_with('/') {
                    return None;
                }
                let target = format!("{with}{rest}");
                Some(if target.is_empty() { "/".to_owned() } else { target })
            }
            Self::Regex { regex, with } => {
                let mut out = String::new();
                regex.captures(path)?.expand(with, &mut out);
                Some(out)
            }
        }
    }

    /// Rewrites the path of a request, if it is one that this is for.
    fn apply(&self, x: &mut Exchange<'_>) -> Result<(), Answer> {
        let came = x.path_and_query();
        let (path, query) = match came.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (came, None),
        };
        let Some(mut target) = self.rewritten(path) else { return Ok(()) };
        let refused = |status, text| Answer::error(status, "bad_path", text);
        // Pieces of a path may add up to a `..` that none of them had.
        if !normalise_path(target.as_bytes()).is_ok_and(|path| path == target) {
            return Err(refused(StatusCode::BAD_REQUEST, "the path is malformed"));
        }
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let set = x.set_path_and_query(&target);
        set.map_err(|_| refused(StatusCode::URI_TOO_LONG, "the path is too long"))
    }
}

impl Host {
    fn apply(&self, x: &mut Exchange<'_>) {
        let request = &mut x.request;
        // RFC 9113, 8.3.1: HTTP/2 has it in `:authority`, which takes the place of the field.
        if request.uri.authority().is_some() {
            let mut parts = Parts::from(request.uri.clone());
            parts.authority = Some(self.authority.clone());
            if let Ok(uri) = Uri::from_parts(parts) {
                request.uri = uri;
            }
        }
        request.headers.insert(header::HOST, self.field.clone());
    }
}

impl Filter for Rewrite {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        if let Some(path) = &self.path
            && let Err(answer) = path.apply(&mut x)
        {
            return Flow::answer(answer);
        }
        if let Some(host) = &self.host {
            host.apply(&mut x);
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
