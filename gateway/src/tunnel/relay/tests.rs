use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const IDLE: Duration = Duration::from_secs(30);

/// The far end and the near one.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (far, listener.accept().await.unwrap().0)
}

/// A client and an origin with a relay between them.
async fn tunnel(idle: Duration) -> (TcpStream, TcpStream, JoinHandle<Relayed>) {
    let (client, near_client) = pair().await;
    let (origin, near_origin) = pair().await;
    let relaying = tokio::spawn(relay(
        (near_client, Bytes::new()),
        (near_origin, Bytes::new()),
        idle,
        |_, _| {},
    ));
    (client, origin, relaying)
}

#[tokio::test]
async fn what_was_read_before_goes_first() {
    let (mut client, near_client) = pair().await;
    let (mut origin, near_origin) = pair().await;
    let relaying = relay((near_client, "up".into()), (near_origin, "down".into()), IDLE, |_, _| {});
    let relaying = tokio::spawn(relaying);
    client.write_all(b"!").await.unwrap();
    client.shutdown().await.unwrap();
    origin.write_all(b"!").await.unwrap();
    origin.shutdown().await.unwrap();
    let (mut to_client, mut to_origin) = (String::new(), String::new());
    client.read_to_string(&mut to_client).await.unwrap();
    origin.read_to_string(&mut to_origin).await.unwrap();
    assert_eq!((&*to_client, &*to_origin), ("down!", "up!"));
    let relayed = relaying.await.unwrap();
    assert_eq!((relayed.end, relayed.up_bytes, relayed.down_bytes), (End::Closed, 3, 5));
}

#[tokio::test]
async fn a_half_close_ends_one_direction_only() {
    let (mut client, mut origin, relaying) = tunnel(IDLE).await;
    client.shutdown().await.unwrap();
    assert_eq!(origin.read(&mut [0; 8]).await.unwrap(), 0);
    let much = vec![7; 1 << 20];
    let sent = tokio::spawn(async move {
        origin.write_all(&much).await.unwrap();
        origin.shutdown().await.unwrap();
        origin
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 1 << 20);
    drop(sent.await.unwrap());
    assert_eq!(relaying.await.unwrap().end, End::Closed);
}

#[tokio::test]
async fn a_reset_is_passed_on_behind_what_was_in_flight() {
    for from_client in [true, false] {
        let (client, origin, relaying) = tunnel(IDLE).await;
        let (mut resetting, mut other) =
            if from_client { (client, origin) } else { (origin, client) };
        resetting.write_all(b"last words").await.unwrap();
        let mut into = [0; 10];
        other.read_exact(&mut into).await.unwrap();
        socket2::SockRef::from(&resetting).set_linger(Some(Duration::ZERO)).unwrap();
        drop(resetting);
        let error = other.read(&mut into).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let end = if from_client { End::ClientReset } else { End::OriginReset };
        assert_eq!(relaying.await.unwrap().end, end);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_both_ways_ends_it_and_a_word_from_either_does_not() {
    let (mut client, mut origin, relaying) = tunnel(Duration::from_secs(10)).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        origin.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
    }
    let last = Instant::now();
    assert_eq!(relaying.await.unwrap().end, End::Idle);
    assert_eq!(last.elapsed().as_secs(), 10);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed in order");
}
