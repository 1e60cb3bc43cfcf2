use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pingora_error::ErrorType;
use sallyport_balance::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::*;

mod tls;

/// What nothing here waits for.
const PATIENCE: Duration = Duration::from_secs(60);

fn terms() -> Terms {
    Terms { within: PATIENCE, introduction: None }
}

fn destination(address: impl Into<Address>, key: u64) -> Destination {
    Destination::for_tests(address.into(), key)
}

/// An origin, and how to get there.
async fn origin() -> (TcpListener, Destination) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    (listener, destination(address, 1))
}

/// A pool that is watched.
fn pool(idle_max: usize) -> Pool {
    let pool = Pool::new(idle_max);
    tokio::spawn(pool.watch());
    pool
}

/// A connection that was made anew, and the origin's end of it.
async fn fresh(
    pool: &Pool,
    listener: &TcpListener,
    destination: &Destination,
) -> (OriginStream, TcpStream) {
    let terms = terms();
    let (connected, accepted) = tokio::join!(pool.connect(destination, &terms), listener.accept());
    let (stream, reused) = connected.unwrap();
    assert!(!reused);
    (stream, accepted.unwrap().0)
}

fn idle(pool: &Pool) -> usize {
    pool.0.lock().idle.len()
}

/// Ready once the pool has as many idle connections.
async fn until_idle(pool: &Pool, count: usize) {
    while idle(pool) != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn the_youngest_connection_is_used_again_and_works() {
    let pool = pool(10);
    let (listener, to) = origin().await;
    let (first, _end) = fresh(&pool, &listener, &to).await;
    let (second, mut end) = fresh(&pool, &listener, &to).await;
    let descriptor = second.descriptor();
    pool.put(first, &to, &terms());
    pool.put(second, &to, &terms());
    let (mut again, reused) = pool.connect(&to, &terms()).await.unwrap();
    assert_eq!((reused, again.descriptor()), (true, descriptor));
    again.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    end.read_exact(&mut bytes).await.unwrap();
    end.write_all(b"pong").await.unwrap();
    again.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"pong");
    assert_eq!(again.local(), end.peer_addr().ok());
}

#[tokio::test]
async fn a_connection_is_dropped_when_its_origin_closes_or_speaks_unasked() {
    let pool = pool(10);
    let (listener, to) = origin().await;
    let (closes, end) = fresh(&pool, &listener, &to).await;
    let (speaks, mut speaking) = fresh(&pool, &listener, &to).await;
    let (stays, _end) = fresh(&pool, &listener, &to).await;
    for stream in [closes, speaks, stays] {
        pool.put(stream, &to, &terms());
    }
    assert_eq!(idle(&pool), 3);
    drop(end);
    until_idle(&pool, 2).await;
    speaking.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    until_idle(&pool, 1).await;
    assert!(pool.connect(&to, &terms()).await.unwrap().1);
}

#[tokio::test]
async fn an_idle_connection_ends_with_its_time_and_is_closed() {
    let pool = pool(10);
    let (listener, mut to) = origin().await;
    let (long, _end) = fresh(&pool, &listener, &to).await;
    let (short, mut end) = fresh(&pool, &listener, &to).await;
    pool.put(long, &to, &terms());
    to.idle_timeout = Duration::from_millis(20);
    pool.put(short, &to, &terms());
    // The one that was put in before, and ends later, is no reason to be late.
    assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
    until_idle(&pool, 1).await;
}

#[tokio::test]
async fn beyond_its_bound_the_oldest_goes() {
    let pool = pool(1);
    let (listener, to) = origin().await;
    let (first, mut end) = fresh(&pool, &listener, &to).await;
    let (second, _end) = fresh(&pool, &listener, &to).await;
    let descriptor = second.descriptor();
    pool.put(first, &to, &terms());
    pool.put(second, &to, &terms());
    assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(pool.connect(&to, &terms()).await.unwrap().0.descriptor(), descriptor);
}

#[tokio::test]
async fn connections_of_other_endpoints_and_other_clients_are_others() {
    let pool = pool(10);
    let (listener, to) = origin().await;
    let header = |text: &'static str| Terms {
        introduction: Some(Bytes::from_static(text.as_bytes())),
        ..terms()
    };
    let (ann, bob) = (header("PROXY UNKNOWN ann\r\n"), header("PROXY UNKNOWN bob\r\n"));
    let (connected, accepted) = tokio::join!(pool.connect(&to, &ann), listener.accept());
    let (mut end, mut bytes) = (accepted.unwrap().0, [0; 19]);
    end.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"PROXY UNKNOWN ann\r\n");
    pool.put(connected.unwrap().0, &to, &ann);
    let (plain, other) = (terms(), destination(to.address.clone(), 2));
    for (to, terms) in [(&to, &plain), (&to, &bob), (&other, &ann)] {
        assert!(!pool.connect(to, terms).await.unwrap().1);
    }
    assert!(pool.connect(&to, &ann).await.unwrap().1);
}

#[tokio::test]
async fn unix_sockets_are_origins_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let to = destination(Address::Unix(path.into()), 1);
    let pool = pool(10);
    let terms = terms();
    let (connected, accepted) = tokio::join!(pool.connect(&to, &terms), listener.accept());
    let (stream, (_end, _)) = (connected.unwrap().0, accepted.unwrap());
    assert_eq!((stream.local(), stream.is_tls()), (None, false));
    pool.put(stream, &to, &terms);
    assert!(pool.connect(&to, &terms).await.unwrap().1);
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_told() {
    let pool = pool(10);
    let (listener, to) = origin().await;
    drop(listener);
    let refused = pool.connect(&to, &terms()).await.unwrap_err();
    assert_eq!(*refused.etype(), ErrorType::ConnectRefused);
    let to = destination(Address::Unix(std::path::Path::new("/nowhere/at.all").into()), 1);
    let nowhere = pool.connect(&to, &terms()).await.unwrap_err();
    assert_eq!(*nowhere.etype(), ErrorType::ConnectError);
    // A backlog of one that nobody accepts from: further connections wait without an answer.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = full.listen(1).unwrap();
    let to = destination(listener.local_addr().unwrap(), 1);
    let short = Terms { within: Duration::from_millis(50), ..terms() };
    let mut held = Vec::new();
    let late = loop {
        match pool.connect(&to, &short).await {
            Ok((stream, _)) => held.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(*late.etype(), ErrorType::ConnectTimedout);
}

#[tokio::test]
async fn the_watcher_ends_with_the_pool() {
    let pool = Pool::new(10);
    let watching = tokio::spawn(pool.watch());
    let (listener, to) = origin().await;
    let (stream, mut end) = fresh(&pool, &listener, &to).await;
    pool.put(stream, &to, &terms());
    tokio::task::yield_now().await;
    drop(pool);
    watching.await.unwrap();
    assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
}
