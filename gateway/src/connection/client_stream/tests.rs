use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;

const PHRASE: &[u8] = b"PRI * HTTP";
const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 16, fields: 100 };

fn pair() -> (UnixStream, ClientStream) {
    let (client, server) = UnixStream::pair().unwrap();
    let connection = Arc::new(Connection::for_tests());
    (client, ClientStream::new(Box::new(server), Home::default(), connection))
}

async fn read(stream: &mut ClientStream, bytes: usize) -> String {
    let mut into = vec![0; bytes];
    stream.read_exact(&mut into).await.unwrap();
    String::from_utf8(into).unwrap()
}

async fn begin(stream: &mut ClientStream) {
    let head = stream.read_head(&mut HeadCheck::default(), LIMITS).await.unwrap().unwrap();
    stream.begin_request(head);
}

#[tokio::test]
async fn one_request_is_given_at_a_time_whatever_its_framing() {
    let get = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let sized = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    let (mut client, mut stream) = pair();
    let requests = [get, sized, chunked, sized, get];
    client.write_all(requests.concat().as_bytes()).await.unwrap();
    for request in requests {
        begin(&mut stream).await;
        assert_eq!(read(&mut stream, request.len()).await, request);
        assert!(stream.is_at_request_end());
        let more = tokio::time::timeout(Duration::from_millis(5), stream.read_u8()).await;
        assert!(more.is_err(), "{more:?}");
    }
    drop(client);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end of the stream is seen");
}

#[tokio::test]
async fn a_malformed_chunk_is_an_error_and_not_the_end() {
    let (mut client, mut stream) = pair();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(format!("{head}3\r\nabc\r\n;x\r\n\r\n").as_bytes()).await.unwrap();
    begin(&mut stream).await;
    assert_eq!(read(&mut stream, head.len()).await, head);
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err());
    assert!(matches!(stream.failure(), Some(Failure::Body(_))));
}

#[tokio::test]
async fn a_tunnel_gets_all_that_comes_and_nothing_twice() {
    let (mut client, mut stream) = pair();
    let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(format!("{head}early").as_bytes()).await.unwrap();
    begin(&mut stream).await;
    read(&mut stream, head.len()).await;
    stream.begin_tunnel();
    client.write_all(b" and late").await.unwrap();
    assert_eq!(read(&mut stream, 14).await, "early and late");
}

#[tokio::test]
async fn waiting_for_an_answer_ends_when_it_was_to_end() {
    let (_client, mut stream) = pair();
    stream.expect_answer(Some(Duration::from_millis(1)));
    stream.expect_answer(Some(Duration::from_millis(2)));
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(stream.failure(), Some(Failure::AnswerLate));
}

#[tokio::test]
async fn how_it_begins_is_told_from_as_little_as_it_takes() {
    let (mut client, mut stream) = pair();
    client.write_all(b"P").await.unwrap();
    stream.read_ahead().await.unwrap();
    client.write_all(b"OST").await.unwrap();
    assert!(!stream.begins_with(PHRASE).await.unwrap());
    assert_eq!(read(&mut stream, 4).await, "POST");

    let (mut client, mut stream) = pair();
    client.write_all(&PHRASE[..5]).await.unwrap();
    stream.read_ahead().await.unwrap();
    client.write_all(&PHRASE[5..]).await.unwrap();
    assert!(stream.begins_with(PHRASE).await.unwrap());
    assert_eq!(read(&mut stream, PHRASE.len()).await.as_bytes(), PHRASE);
}
