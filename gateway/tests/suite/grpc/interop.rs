//! The cases by which gRPC's own implementations are compared, named as its list names them.
//!
//! Of that list are left out what needs compression or credentials of Google.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::iter;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

use super::client::{Calls, echoed, failure, rest};
use super::messages::{
    EchoStatus, Payload, SimpleRequest, StreamingInputCallRequest, StreamingOutputCallRequest,
    bytes,
};
use super::{Bench, Way};
use crate::origins::grpc::{connect, in_time};
use crate::support::eventually;

const CASES: [&str; 11] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
];

const SPECIAL: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";

/// What came of a case, as text.
async fn outcome(case: &str, calls: &Calls) -> String {
    let came = match case {
        "empty_unary" => calls.empty("EmptyCall").await.map(|_| "empty".to_owned()),
        "large_unary" => large_unary(calls).await,
        "client_streaming" => client_streaming(calls).await,
        "server_streaming" => server_streaming(calls).await,
        "ping_pong" => ping_pong(calls).await,
        "empty_stream" => empty_stream(calls).await,
        "custom_metadata" => custom_metadata(calls).await,
        "status_code_and_message" => asks_for_status(calls, 2, "test status message").await,
        "special_status_message" => asks_for_status(calls, 2, SPECIAL).await,
        "unimplemented_method" => calls.empty("UnimplementedCall").await.map(|_| String::new()),
        "unimplemented_service" => {
            let method = "/grpc.testing.UnimplementedService/UnimplementedCall";
            calls.empty(method).await.map(|_| String::new())
        }
        other => panic!("no case {other}"),
    };
    came.unwrap_or_else(|status| failure(&status))
}

async fn large_unary(calls: &Calls) -> Result<String, Status> {
    let request = SimpleRequest {
        response_size: 314_159,
        payload: Payload::of(271_828),
        response_status: None,
    };
    let response = calls.unary(Request::new(request)).await?.into_inner();
    Ok(bytes(response.payload.as_ref()).to_string())
}

async fn client_streaming(calls: &Calls) -> Result<String, Status> {
    let sizes = [27_182, 8, 1_828, 45_904];
    let requests = sizes.map(|size| StreamingInputCallRequest { payload: Payload::of(size) });
    let response = calls.input(iter(requests)).await?.into_inner();
    Ok(response.aggregated_payload_size.to_string())
}

async fn server_streaming(calls: &Calls) -> Result<String, Status> {
    let asked = StreamingOutputCallRequest::asking(&[31_415, 9, 2_653, 58_979], 0);
    Ok(rest(calls.output(asked).await?).await)
}

async fn ping_pong(calls: &Calls) -> Result<String, Status> {
    let (mut requests, receiver) = mpsc::channel(1);
    let mut responses = calls.duplex(Request::new(receiver)).await?.into_inner();
    let mut sizes = Vec::new();
    for (asked, sent) in [(31_415, 27_182), (9, 8), (2_653, 1_828), (58_979, 45_904)] {
        let request = StreamingOutputCallRequest::asking(&[asked], sent);
        requests.try_send(request).map_err(|_| Status::internal("the call is over"))?;
        let response = responses.message().await?;
        sizes.push(response.map(|response| bytes(response.payload.as_ref())));
    }
    drop(requests);
    Ok(format!("{sizes:?}, then {}", rest(responses).await))
}

async fn empty_stream(calls: &Calls) -> Result<String, Status> {
    let responses = calls.duplex(Request::new(iter([]))).await?;
    Ok(rest(responses.into_inner()).await)
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let initial = "test_initial_metadata_value".parse().unwrap();
    request.metadata_mut().insert("x-grpc-test-echo-initial", initial);
    let trailing = MetadataValue::from_bytes(&[0xab, 0xab, 0xab]);
    request.metadata_mut().insert_bin("x-grpc-test-echo-trailing-bin", trailing);
    request
}

async fn custom_metadata(calls: &Calls) -> Result<String, Status> {
    let request =
        SimpleRequest { response_size: 1, payload: Payload::of(1), response_status: None };
    let unary = calls.unary(with_metadata(request)).await?;
    let request = StreamingOutputCallRequest::asking(&[1], 1);
    let duplex = calls.duplex(with_metadata(iter([request]))).await?;
    let initial = echoed(duplex.metadata());
    Ok(format!("{}; {initial} {}", echoed(unary.metadata()), rest(duplex.into_inner()).await))
}

async fn asks_for_status(calls: &Calls, code: i32, message: &str) -> Result<String, Status> {
    let response_status = Some(EchoStatus { code, message: message.to_owned() });
    let request =
        SimpleRequest { response_size: 0, payload: None, response_status: response_status.clone() };
    let unary = match calls.unary(Request::new(request)).await {
        Ok(_) => "no failure".to_owned(),
        Err(status) => failure(&status),
    };
    let request = StreamingOutputCallRequest { response_status, ..Default::default() };
    let duplex = match calls.duplex(Request::new(iter([request]))).await {
        Ok(responses) => rest(responses.into_inner()).await,
        Err(status) => failure(&status),
    };
    Ok(format!("{unary}; {duplex}"))
}

/// What must come of those cases that say it in numbers.
fn expected(case: &str) -> Option<&'static str> {
    Some(match case {
        "empty_unary" => "empty",
        "large_unary" => "314159",
        "client_streaming" => "74922",
        "server_streaming" => "[31415, 9, 2653, 58979]",
        "ping_pong" => "[Some(31415), Some(9), Some(2653), Some(58979)]",
        "empty_stream" => "[]",
        "custom_metadata" => "Some(\"test_initial_metadata_value\") Some(\"q6ur\")",
        "status_code_and_message" => "Unknown: \"test status message\"",
        "special_status_message" => "Unicode BMP ☺ and non-BMP 😈",
        "unimplemented_method" | "unimplemented_service" => "Unimplemented",
        _ => return None,
    })
}

#[test]
fn grpcs_interoperability_cases_come_to_the_same_with_and_without_the_gateway() {
    let bench = Bench::start();
    for way in Way::all() {
        let (direct, through) = (bench.directly(way), bench.through(way));
        for case in CASES {
            let run = |calls: &Calls| in_time(&bench.runtime, outcome(case, calls));
            let (direct, through) = (run(&direct), run(&through));
            assert_eq!(through, direct, "{case}, {way:?}: the left one passed the gateway");
            if let Some(expected) = expected(case) {
                assert!(through.contains(expected), "{case}: {through}");
            }
        }
        eventually("no call to be left", || (bench.server(way).under_way() == 0).then_some(()));
    }
}

/// Begins a call of `method` through the gateway with a client that sends exactly its frames: one of
/// tonic leaves a call open whose requests have no end.
async fn begin(
    address: SocketAddr,
    way: Way,
    method: &str,
    fields: &[(&str, &str)],
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let mut client = connect(address).await;
    let host = if way.is_origin_encrypted { "encrypted.test" } else { "clear.test" };
    let uri = format!("http://{host}/grpc.testing.TestService/{method}");
    let mut request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send_request(request.body(()).unwrap(), false).unwrap()
}

/// `message` as it stands in a body.
fn framed(message: &impl prost::Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &encoded].concat().into()
}

#[test]
fn a_call_that_is_cancelled_ends_at_the_origin() {
    let bench = Bench::start();
    for way in Way::all().filter(|way| !way.is_client_encrypted) {
        let (server, web) = (bench.server(way), bench.gateway.web());
        let under_way = |count| {
            let what = format!("{count} calls under way, {way:?}");
            eventually(&what, || (server.under_way() == count).then_some(()));
        };
        // cancel_after_begin
        let begun = begin(web, way, "StreamingInputCall", &[]);
        let (_response, mut requests) = in_time(&bench.runtime, begun);
        under_way(1);
        requests.send_reset(h2::Reason::CANCEL);
        under_way(0);
        // cancel_after_first_response
        let (mut requests, _body) = in_time(&bench.runtime, async {
            let (response, mut requests) = begin(web, way, "FullDuplexCall", &[]).await;
            let asked = StreamingOutputCallRequest::asking(&[100], 100);
            requests.send_data(framed(&asked), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert!(!body.data().await.unwrap().unwrap().is_empty());
            (requests, body)
        });
        under_way(1);
        requests.send_reset(h2::Reason::CANCEL);
        under_way(0);
    }
}

#[test]
fn a_stream_ends_with_its_deadline_although_its_server_sleeps() {
    let bench = Bench::start();
    for way in Way::all().filter(|way| !way.is_client_encrypted) {
        // timeout_on_sleeping_server
        in_time(&bench.runtime, async {
            let deadline = [("grpc-timeout", "500m")];
            let (response, _requests) =
                begin(bench.gateway.web(), way, "FullDuplexCall", &deadline).await;
            let Ok(response) = response.await else { return };
            let (head, mut body) = response.into_parts();
            let status = match body.data().await {
                Some(part) => return assert!(part.is_err(), "{part:?}"),
                None => match body.trailers().await {
                    Ok(trailers) => trailers.and_then(|it| it.get("grpc-status").cloned()),
                    Err(_) => return,
                },
            };
            let status = status.or_else(|| head.headers.get("grpc-status").cloned());
            assert_eq!(status.unwrap(), "4");
        });
        let server = bench.server(way);
        eventually("its end", || (server.under_way() == 0).then_some(()));
    }
}
