// Does what a host must survive, as the request's `x-rogue` says.
//
// `loop` never returns, `allocate` takes memory without end, `trap` executes `unreachable`, and
// `nested` calls itself without end. Any other request passes. With `tick-loop` as the plugin's
// configuration it is the timer's callback that never returns.

export * from "@solo-io/proxy-runtime/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  registerRootContext,
  stream_context,
} from "@solo-io/proxy-runtime";
import { set_tick_period_milliseconds } from "@solo-io/proxy-runtime/runtime";
import { ConfiguredRoot } from "./host";

class Root extends ConfiguredRoot {
  onConfigure(size: u32): bool {
    super.onConfigure(size);
    if (this.text == "tick-loop") set_tick_period_milliseconds(10);
    return true;
  }

  onTick(): void {
    spin();
  }

  createContext(id: u32): Context {
    return new Rogue(id, this);
  }
}

class Rogue extends Context {
  constructor(id: u32, root: Root) {
    super(id, root);
  }

  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    const wanted = stream_context.headers.request.get("x-rogue");
    if (wanted == "loop") spin();
    if (wanted == "allocate") allocate();
    if (wanted == "trap") unreachable();
    if (wanted == "nested") nested(count);
    return FilterHeadersStatusValues.Continue;
  }
}

function spin(): void {
  while (true) {}
}

function allocate(): void {
  const held: ArrayBuffer[] = [];
  while (true) held.push(new ArrayBuffer(1 << 20));
}

/** Ends when the count has wrapped, which no stack lives to see. */
function nested(depth: u32): u32 {
  return depth == 0 ? 1 : (nested(depth + 1) * 31) ^ depth;
}

registerRootContext((id: u32) => new Root(id), "");
