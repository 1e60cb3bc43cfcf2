//! Media types that are worth compressing.

use http::{HeaderMap, header};
use sallyport_config::{Node, Sink};

/// Text, by its many names. Pictures, films and archives are compressed already.
const DEFAULT: [&str; 14] = [
    "text/*",
    "*+json",
    "*+xml",
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/ndjson",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
];

/// A list of media types.
#[derive(Debug)]
pub(super) struct Types(Vec<Pattern>);

#[derive(Debug)]
enum Pattern {
    /// `text/html`.
    Exact(String),
    /// `text/*`: all that begins with `text/`.
    Prefix(String),
    /// `*+json`: all that ends with `+json`.
    Suffix(String),
}

impl Default for Types {
    fn default() -> Self {
        Self(DEFAULT.iter().filter_map(|text| Pattern::parse(text)).collect())
    }
}

impl Types {
    pub(super) fn read(node: Node<'_>, sink: &mut Sink) -> Option<Self> {
        let patterns = node.list(sink, |node, sink| {
            let text = node.text(sink)?;
            Pattern::parse(text).or_else(|| {
                let fix = "write a type such as text/html, text/* or *+json";
                node.refuse(sink, format!("{text:?} is no media type"), fix)
            })
        })?;
        if patterns.is_empty() {
            return node.refuse(sink, "is empty", "name at least one type");
        }
        Some(Self(patterns))
    }

    /// Whether a message with these fields is of one of the types.
    pub(super) fn have(&self, headers: &HeaderMap) -> bool {
        let field = headers.get(header::CONTENT_TYPE).and_then(|field| field.to_str().ok());
        let Some(field) = field else { return false };
        let media_type = field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(text) => media_type == *text,
            Pattern::Prefix(text) => media_type.starts_with(text),
            Pattern::Suffix(text) => media_type.ends_with(text),
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let plain = |text: &str| {
            let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !text.is_empty() && text.bytes().all(sign)
        };
        if let Some(suffix) = text.strip_prefix("*+") {
            return plain(suffix).then(|| Self::Suffix(format!("+{suffix}")));
        }
        let (whole, part) = text.split_once('/')?;
        match part {
            _ if !plain(whole) => None,
            "*" => Some(Self::Prefix(format!("{whole}/"))),
            part => plain(part).then_some(Self::Exact(text)),
        }
    }
}
