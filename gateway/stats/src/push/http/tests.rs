//! A receiver that answers what it is told, for this and the exporters beside it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Instant,
};

use super::*;

/// A request as it came in, header names in lower case.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Answers one request after the other with `answers`, each a status line's rest, headers, body.
pub(crate) fn receiver(
    answers: Vec<(&'static str, Vec<u8>)>,
) -> (String, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/push", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = read(&mut stream) {
                let Some((head, body)) = answers.next() else { return };
                let length = body.len();
                let head = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n");
                stream.get_mut().write_all(head.as_bytes()).unwrap();
                stream.get_mut().write_all(&body).unwrap();
                tell.send(request).ok();
            }
        }
    });
    (url, told)
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((key, value)) = line.trim().split_once(": ") else { break };
        headers.push((key.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(key, _)| key == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body })
}

fn is_busy(status: u16) -> bool {
    status == 429 || status >= 500
}

fn answer(head: &'static str) -> Result<Vec<u8>, ExportError> {
    let (url, _told) = receiver(vec![(head, b"some\n words".to_vec())]);
    Http::new(&HttpConfig::new(url)).unwrap().post(&[], b"x", is_busy)
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn the_status_says_what_is_to_be_done() {
    assert_eq!(answer("200 OK").unwrap(), b"some\n words");
    let busy = answer("429 Too Many Requests\r\nretry-after: 7").unwrap_err();
    assert_eq!((busy.is_retryable(), busy.retry_after()), (true, Some(Duration::from_secs(7))));
    let busy = answer("503 Unavailable\r\nretry-after: 999999").unwrap_err();
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(300)), "not for ever");
    let refused = answer("400 Bad Request").unwrap_err();
    assert!(!refused.is_retryable());
    assert_eq!(refused.to_string(), "the receiver refused it (status 400): some words");
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn what_was_not_sent_may_be_sent_again() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut http = Http::new(&HttpConfig::new(format!("http://127.0.0.1:{port}/"))).unwrap();
    let error = http.post(&[], b"x", is_busy).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_receiver_that_accepts_and_never_answers_costs_one_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = HttpConfig::new(format!("http://{}/", listener.local_addr().unwrap()));
    config.deadline = Duration::from_millis(100);
    let started = Instant::now();
    let error = Http::new(&config).unwrap().post(&[], b"x", is_busy).unwrap_err();
    assert!(!error.is_retryable(), "it may have been taken: {error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}
