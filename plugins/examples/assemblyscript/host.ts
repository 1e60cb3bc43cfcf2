// What the SDK lacks or has wrong, for the guests beside this file.

import { RootContext } from "@solo-io/proxy-runtime";
import { BufferTypeValues, get_buffer_bytes } from "@solo-io/proxy-runtime/runtime";

// The SDK declares this call under a name that no host has.
// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
declare function proxy_set_buffer_bytes(
  buffer: u32,
  start: u32,
  length: u32,
  data: usize,
  size: usize,
): u32;

/** Puts `data` in place of the first `length` bytes of a body. */
export function setBody(buffer: BufferTypeValues, length: u32, data: ArrayBuffer): void {
  proxy_set_buffer_bytes(buffer, 0, length, changetype<usize>(data), data.byteLength);
}

/**
 * A root context that knows its configuration.
 *
 * The SDK's own `onConfigure` has the host write the configuration's length to the address that is
 * the configuration's length.
 */
export class ConfiguredRoot extends RootContext {
  text: string = "";

  onConfigure(size: u32): bool {
    if (size > 0) {
      const bytes = get_buffer_bytes(BufferTypeValues.PluginConfiguration, 0, size);
      this.text = String.UTF8.decode(bytes);
    }
    return true;
  }
}
