//! `plugins/examples/recorded.yaml`, whose head says what the file may say, as bytes on the wire.

use std::path::Path;

use serde::Deserialize;

/// One request and what is answered on its way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) guest: String,
    pub(super) method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Content>,
    pub(super) reply: Option<Reply>,
    pub(super) check: Option<Reply>,
}

/// What an origin answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<Content>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    text: Option<String>,
    repeat: Option<String>,
    bytes: Option<usize>,
    chunk_bytes: Option<usize>,
}

/// Every case of the file.
pub(super) fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples/recorded.yaml");
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Case {
    /// The request for `host`, the last on its connection.
    pub(super) fn request(&self, host: &str) -> Vec<u8> {
        let Self { method, path, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        write_fields(&mut head, &self.headers);
        head += "Connection: close\r\n";
        let mut body = Vec::new();
        if let Some(content) = &self.body {
            (head, body) = content.framed(head);
        }
        message(head, &body)
    }
}

impl Reply {
    /// The response to a request with this method.
    pub(super) fn response(&self, method: &str) -> Vec<u8> {
        let status = self.status.unwrap_or(200);
        let mut head = format!("HTTP/1.1 {status} Recorded\r\n");
        write_fields(&mut head, &self.headers);
        if status == 204 || status == 304 {
            assert!(self.body.is_none(), "a {status} has no body");
            return message(head, &[]);
        }
        let (head, body) = self.body.clone().unwrap_or_default().framed(head);
        message(head, if method == "HEAD" { &[] } else { &body })
    }
}

impl Content {
    /// `head` with the field that says how long this is, and this as it is sent.
    fn framed(&self, mut head: String) -> (String, Vec<u8>) {
        let bytes = self.bytes();
        let Some(size) = self.chunk_bytes else {
            head += &format!("Content-Length: {}\r\n", bytes.len());
            return (head, bytes);
        };
        head += "Transfer-Encoding: chunked\r\n";
        let mut sent = Vec::new();
        for chunk in bytes.chunks(size) {
            sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        (head, sent)
    }

    fn bytes(&self) -> Vec<u8> {
        match (&self.text, &self.repeat, self.bytes) {
            (None, Some(repeat), Some(bytes)) => repeat.bytes().cycle().take(bytes).collect(),
            (text, None, None) => text.clone().unwrap_or_default().into_bytes(),
            _ => panic!("a body has `text`, or `repeat` and `bytes`: {self:?}"),
        }
    }
}

fn write_fields(head: &mut String, fields: &[(String, String)]) {
    for (name, value) in fields {
        *head += &format!("{name}: {value}\r\n");
    }
}

fn message(head: String, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\r\n", body].concat()
}
