// Sets `x-wasm` on each request and adds `x-wasm-response: hello` to each response.
//
// The plugin's configuration, if there is one, is the value of `x-wasm`; otherwise it is `hello`.
// The request's `x-remove-me` is removed.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";
import { ConfiguredRoot } from "./host";

class Root extends ConfiguredRoot {
  createContext(id: u32): Context {
    return new Header(id, this);
  }
}

class Header extends Context {
  constructor(id: u32, root: Root) {
    super(id, root);
  }

  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    const text = (this.root_context as Root).text;
    stream_context.headers.request.replace("x-wasm", text.length > 0 ? text : "hello");
    stream_context.headers.request.remove("x-remove-me");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.add("x-wasm-response", "hello");
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((id: u32) => new Root(id), "");
