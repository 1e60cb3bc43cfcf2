#![doc = include_str!("api_key/README.md")]

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use sallyport_config::{Node, Sink, scalar, schema};

use crate::exchange::Exchange;
use crate::field_name;
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod keys;
mod query;
mod spec;

pub use spec::ApiKeySpec;

use keys::Keys;

/// `api_key:` in `filters:`.
pub const KIND: Kind = Kind { name: "api_key", read, schema: schema::settings::<ApiKeySpec> };

/// Keys are some 40 characters; what is longer is not worth hashing.
const KEY_BYTES_MAX: usize = 256;

/// The label of `sallyport_route_labels_total`.
const LABEL: &str = "consumer";

/// Lets requests in that bring a key of the file.
#[derive(Debug)]
struct ApiKey {
    keys: Keys,
    source: Source,
    pass: bool,
    consumer_header: HeaderName,
    label: bool,
    /// RFC 9110, 15.5.2: a 401 says how to ask. There is no registered scheme for keys.
    challenge: HeaderValue,
}

/// Where a request has its key.
#[derive(Debug)]
enum Source {
    Header(HeaderName),
    Query(Box<str>),
}

fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let keys = fields.required(sink, "file", |node, sink| {
            let (path, bytes) = setting.file(node, sink)?;
            let fix = "write lines such as `name:sha256`, the hash as 64 hexadecimal digits";
            let parsed = Keys::parse(&bytes);
            parsed.map_or_else(
                |error| node.refuse(sink, format!("{}: {error}", path.display()), fix),
                Some,
            )
        });
        let header = fields.optional(sink, "header", |node, sink| {
            field_name::readable(node.text(sink)?, node, sink)
        });
        let query = fields.optional(sink, "query", scalar::name);
        let pass = fields.optional(sink, "pass", scalar::flag).unwrap_or(false);
        let consumer_header = fields.optional(sink, "consumer_header", |node, sink| {
            field_name::identity(node.text(sink)?, node, sink)
        });
        let label = fields.optional(sink, "label", scalar::flag).unwrap_or(false);
        if fields.has("header") && fields.has("query") {
            return node.refuse(sink, "has `header`, `query` together", "write one of them");
        }
        let header = header.unwrap_or(HeaderName::from_static("x-api-key"));
        let consumer_header = consumer_header.unwrap_or(HeaderName::from_static("x-consumer"));
        if query.is_none() && header == consumer_header {
            let fix = "give the key and the consumer fields of their own";
            return node.refuse(sink, "has `header` and `consumer_header` alike", fix);
        }
        let challenge = format!("ApiKey realm=\"{}\"", realm(setting.name));
        Some(Arc::new(ApiKey {
            keys: keys?,
            source: query.map_or(Source::Header(header), Source::Query),
            pass,
            consumer_header,
            label,
            challenge: HeaderValue::try_from(challenge).ok()?,
        }) as Arc<dyn Filter>)
    })
}

/// What of a filter's name may stand between quotes.
fn realm(name: &str) -> String {
    name.chars().filter(|letter| matches!(letter, ' '..='~') && !"\"\\".contains(*letter)).collect()
}

impl ApiKey {
    /// The consumer whose key the request brings. Of two keys in one request neither counts.
    fn consumer(&self, x: &Exchange<'_>) -> Option<&HeaderValue> {
        let find = |key: &[u8]| {
            if key.len() > KEY_BYTES_MAX { None } else { self.keys.find(key) }
        };
        match &self.source {
            Source::Header(name) => {
                let mut values = x.request.headers.get_all(name).iter();
                let key = values.next().filter(|_| values.next().is_none())?;
                find(key.as_bytes())
            }
            Source::Query(name) => {
                let (_, query) = x.path_and_query().split_once('?')?;
                find(&query::only_value(query, name)?)
            }
        }
    }

    /// Takes the key out of the request, and out of what logs remember of it.
    fn strip(&self, x: &mut Exchange<'_>) {
        match &self.source {
            Source::Header(name) => drop(x.request.headers.remove(name)),
            Source::Query(name) => {
                let stripped = query::without(x.path_and_query(), name);
                // What is left of a path and query is one.
                if x.set_path_and_query(&stripped).is_ok()
                    && let Some(path) = &mut x.marks.client_path
                {
                    *path = query::without(path, name).into();
                }
            }
        }
    }

    fn refusal(&self) -> Answer {
        let text = "a valid key is needed";
        Answer::error(StatusCode::UNAUTHORIZED, "api_key", text)
            .with(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Filter for ApiKey {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        let Some(consumer) = self.consumer(&x) else {
            x.request.headers.remove(&self.consumer_header);
            return Flow::answer(self.refusal());
        };
        if !self.pass {
            self.strip(&mut x);
        }
        x.request.headers.insert(&self.consumer_header, consumer.clone());
        if self.label
            && let Ok(name) = consumer.to_str()
        {
            x.marks.label(LABEL, name);
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
