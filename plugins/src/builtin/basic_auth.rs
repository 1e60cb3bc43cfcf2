#![doc = include_str!("basic_auth/README.md")]

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sallyport_config::{Node, Sink, scalar, schema};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::exchange::Exchange;
use crate::field_name;
use crate::filter::{Answer, Filter, Flow, Next, Phases};
use crate::kind::{Kind, Setting};

mod credentials;
mod recent;
mod spec;
mod users;

pub use spec::BasicAuthSpec;

use credentials::Credentials;
use recent::Recent;
use users::Users;

/// `basic_auth:` in `filters:`.
pub const KIND: Kind = Kind { name: "basic_auth", read, schema: schema::settings::<BasicAuthSpec> };

/// Requests that may wait for their password to be checked: at 50 ms each and one at once, the last waits
/// for three seconds.
const QUEUE: u64 = 64;

/// Lets requests with a name and password of a file pass.
#[derive(Debug)]
struct BasicAuth {
    users: Arc<Users>,
    recent: Recent,
    /// Passwords being checked, or waiting for it.
    queue: Arc<Semaphore>,
    /// Passwords being checked.
    running: Arc<Semaphore>,
    /// The value of `WWW-Authenticate`.
    challenge: HeaderValue,
    user_header: Option<HeaderName>,
    forward: bool,
}

fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    let workers = setting.host.workers.max(1);
    node.mapping(sink, |fields, sink| {
        let users = fields.required(sink, "file", |node, sink| users::read(node, sink, setting));
        let challenge = fields.required(sink, "realm", challenge);
        let user_header = fields.optional(sink, "user_header", |node, sink| {
            field_name::identity(node.text(sink)?, node, sink)
        });
        let forward = fields.optional(sink, "forward", scalar::flag);
        let at_once = fields.optional(sink, "at_once", |node, sink| node.number(sink, 1, 64));
        let queue = fields.optional(sink, "queue", |node, sink| node.number(sink, 1, 10_000));
        let at_once = at_once.map_or(workers, |number| number as usize);
        Some(Arc::new(BasicAuth {
            users: Arc::new(users?),
            recent: Recent::default(),
            queue: Arc::new(Semaphore::new(at_once + queue.unwrap_or(QUEUE) as usize)),
            running: Arc::new(Semaphore::new(at_once)),
            challenge: challenge?,
            user_header,
            forward: forward.unwrap_or(false),
        }) as Arc<dyn Filter>)
    })
}

/// RFC 7617, 2 and 2.1.
fn challenge(node: Node<'_>, sink: &mut Sink) -> Option<HeaderValue> {
    let realm = node.name(sink)?;
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    let value = HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    match value {
        Ok(value) if realm.bytes().all(plain) => Some(value),
        _ => {
            let fix = "use letters, digits, spaces and signs other than \" and \\";
            node.refuse(sink, format!("{realm:?} is no realm"), fix)
        }
    }
}

impl Filter for BasicAuth {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let headers = &mut x.request.headers;
        if let Some(name) = &self.user_header {
            headers.remove(name);
        }
        let Some(credentials) = Credentials::of(headers) else {
            return Flow::answer(self.refused());
        };
        if self.recent.has(&credentials, Instant::now()) {
            self.admit(&credentials, headers);
            return Flow::Continue;
        }
        match self.queue.clone().try_acquire_owned() {
            Ok(place) => Flow::wait(self.check(credentials, headers, place)),
            Err(_) => Flow::answer(busy()),
        }
    }
}

impl BasicAuth {
    async fn check(
        &self,
        credentials: Credentials,
        headers: &mut HeaderMap,
        _place: OwnedSemaphorePermit,
    ) -> Next {
        let Ok(turn) = self.running.clone().acquire_owned().await else {
            return Next::answer(busy());
        };
        let (users, checked) = (self.users.clone(), credentials.clone());
        let good = tokio::task::spawn_blocking(move || {
            // Held here, so that clients that went away do not let others in beside their hash.
            let _turn = turn;
            users.knows(&checked)
        });
        match good.await {
            Ok(true) => {
                self.recent.add(&credentials, Instant::now());
                self.admit(&credentials, headers);
                Next::Continue
            }
            Ok(false) => Next::answer(self.refused()),
            Err(_) => Next::answer(busy()),
        }
    }

    fn admit(&self, credentials: &Credentials, headers: &mut HeaderMap) {
        if !self.forward {
            headers.remove(header::AUTHORIZATION);
        }
        let value = HeaderValue::from_bytes(credentials.name.as_bytes());
        if let (Some(name), Ok(value)) = (&self.user_header, value) {
            headers.insert(name, value);
        }
    }

    /// The one answer for every refusal, so that it tells nothing of the reason.
    fn refused(&self) -> Answer {
        Answer::error(StatusCode::UNAUTHORIZED, "basic_auth", "a name and password are required")
            .with(header::WWW_AUTHENTICATE, self.challenge.clone())
    }
}

fn busy() -> Answer {
    let text = "too many passwords are being checked";
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "basic_auth_busy", text)
        .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

#[cfg(test)]
mod tests;
