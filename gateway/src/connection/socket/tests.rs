use std::sync::Arc;

use sallyport_stats::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::accept::ListenerState;

async fn pair() -> (TcpStream, ClientSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let name: Arc<str> = "web".into();
    let stats = Registry::new(1).connections(&name);
    let state = Arc::new(ListenerState::new(name, address, address, stats));
    (client, ClientSocket::new(stream, Seat::for_tests(state)))
}

#[tokio::test]
async fn small_writes_go_with_what_follows_them_and_nothing_is_held_afterwards() {
    let (mut client, mut socket) = pair().await;
    socket.write_all(b"head").await.unwrap();
    let early = client.try_read(&mut [0; 8]);
    assert_eq!(early.unwrap_err().kind(), io::ErrorKind::WouldBlock, "nothing is sent alone");
    let body = vec![b'x'; 300_000];
    let expected = [b"head", &body[..]].concat();
    let write = async {
        socket.write_all(&body).await.unwrap();
        socket.write_all(b"!").await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(socket.unsent.capacity(), 0);
    };
    let read = async {
        let mut read = vec![0; expected.len() + 1];
        client.read_exact(&mut read).await.unwrap();
        read
    };
    let ((), read) = tokio::join!(write, read);
    assert!(read.ends_with(b"x!") && read[..expected.len()] == expected[..]);
}

#[tokio::test]
async fn what_was_not_flushed_is_sent_at_the_end() {
    let (mut client, mut socket) = pair().await;
    socket.write_all(b"last words").await.unwrap();
    drop(socket);
    let mut read = Vec::new();
    client.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last words");
}

#[tokio::test]
async fn what_was_put_back_is_read_first() {
    let (mut client, mut socket) = pair().await;
    client.write_all(b"cd").await.unwrap();
    socket.put_back(Bytes::from_static(b"b"));
    socket.put_back(Bytes::from_static(b"a"));
    let mut read = [0; 4];
    socket.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"abcd");
}
