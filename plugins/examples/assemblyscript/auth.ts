// Lets a request pass if an HTTP service says so.
//
// The plugin's configuration names the upstream to ask, `auth` if there is none. It gets `GET
// /check` with the request's `authorization` while the request waits. On 200 the request goes on,
// with `x-auth-user` as the reply's `x-user` has it; where the service cannot be asked or answers
// with a 5xx the client gets 503, and 401 otherwise. A host may report a call that failed either
// without a reply or as a 5xx of its own.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  GrpcStatusValues,
  HeaderPair,
  Headers,
  WasmResultValues,
  continue_request,
  registerRootContext,
  send_local_response,
  stream_context,
} from "@solo-io/proxy-runtime";
import { ConfiguredRoot } from "./host";

const TIMEOUT_MS: u32 = 5000;

class Root extends ConfiguredRoot {
  createContext(id: u32): Context {
    return new Auth(id, this);
  }
}

class Auth extends Context {
  constructor(id: u32, root: Root) {
    super(id, root);
  }

  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    const root = this.root_context as Root;
    const upstream = root.text.length > 0 ? root.text : "auth";
    const asked = root.httpCall(
      upstream, question(upstream), new ArrayBuffer(0), [], TIMEOUT_MS, this, onReply,
    );
    if (asked != WasmResultValues.Ok) answer(503, "cannot ask\n");
    return FilterHeadersStatusValues.StopIteration;
  }
}

function question(upstream: string): Headers {
  const headers: Headers = [
    pair(":method", "GET"), pair(":path", "/check"), pair(":authority", upstream),
  ];
  const authorization = stream_context.headers.request.get("authorization");
  if (authorization.length > 0) headers.push(pair("authorization", authorization));
  return headers;
}

function onReply(context: Context, headers: u32, bodySize: usize, trailers: u32): void {
  const reply = stream_context.headers.http_callback;
  const status = headers == 0 ? "" : reply.get(":status");
  if (status == "200") {
    setUser(reply.get("x-user"));
    continue_request();
  } else if (status == "" || status.startsWith("5")) {
    answer(503, "cannot ask\n");
  } else {
    answer(401, "denied\n");
  }
}

function setUser(user: string): void {
  const request = stream_context.headers.request;
  if (user.length > 0) request.replace("x-auth-user", user);
  else request.remove("x-auth-user");
}

function answer(status: u32, body: string): void {
  send_local_response(status, "", String.UTF8.encode(body), [], GrpcStatusValues.InvalidCode);
}

function pair(name: string, value: string): HeaderPair {
  return new HeaderPair(String.UTF8.encode(name), String.UTF8.encode(value));
}

registerRootContext((id: u32) => new Root(id), "");
