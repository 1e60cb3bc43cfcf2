// Makes every `cat` in request and response bodies a `giraffe`.
//
// A word may lie across two pieces of a body, so a body is held back until all of it has come. Its
// length changes, so `content-length` goes with the header section, before the body is known.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  RootContext,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";
import { BufferTypeValues, get_buffer_bytes } from "@solo-io/proxy-runtime/runtime";
import { setBody } from "./host";

const FROM = String.UTF8.encode("cat");
const TO = String.UTF8.encode("giraffe");

class Root extends RootContext {
  onConfigure(size: u32): bool {
    return true;
  }

  createContext(id: u32): Context {
    return new Body(id, this);
  }
}

class Body extends Context {
  constructor(id: u32, root: Root) {
    super(id, root);
  }

  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    stream_context.headers.request.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    return rewrite(BufferTypeValues.HttpRequestBody, size as u32, end);
  }

  onResponseHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end: bool): FilterDataStatusValues {
    return rewrite(BufferTypeValues.HttpResponseBody, size as u32, end);
  }
}

function rewrite(buffer: BufferTypeValues, size: u32, end: bool): FilterDataStatusValues {
  if (!end) return FilterDataStatusValues.StopIterationAndBuffer;
  if (size > 0) setBody(buffer, size, rewritten(get_buffer_bytes(buffer, 0, size)));
  return FilterDataStatusValues.Continue;
}

function rewritten(body: ArrayBuffer): ArrayBuffer {
  const words = wordsIn(body);
  const grown = body.byteLength + words * (TO.byteLength - FROM.byteLength);
  const result = new ArrayBuffer(grown);
  let from = changetype<usize>(body);
  let to = changetype<usize>(result);
  const end = from + body.byteLength;
  while (from < end) {
    if (isWord(from, end)) {
      memory.copy(to, changetype<usize>(TO), TO.byteLength);
      from += FROM.byteLength;
      to += TO.byteLength;
    } else {
      store<u8>(to++, load<u8>(from++));
    }
  }
  return result;
}

function wordsIn(body: ArrayBuffer): i32 {
  let words = 0;
  let at = changetype<usize>(body);
  const end = at + body.byteLength;
  while (at < end) {
    if (isWord(at, end)) {
      words++;
      at += FROM.byteLength;
    } else {
      at++;
    }
  }
  return words;
}

// The first byte alone tells of nearly every place that it is none: `memory.compare` is a call and a loop.
function isWord(at: usize, end: usize): bool {
  const word = changetype<usize>(FROM);
  if (load<u8>(at) != load<u8>(word)) return false;
  const length = FROM.byteLength as usize;
  return end - at >= length && memory.compare(at, word, length) == 0;
}

registerRootContext((id: u32) => new Root(id), "");
