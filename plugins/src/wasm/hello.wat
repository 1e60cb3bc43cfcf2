;; The smallest filter: `x-wasm: hello` on requests and responses. `hello.wasm` is made of it
;; (`wat2wasm hello.wat`, or any other assembler).
(module
  (import "env" "proxy_replace_header_map_value"
    (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-wasmhello")
  (func (export "proxy_abi_version_0_2_1"))
  ;; Nothing is ever read, so that the host asks for no memory.
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 0))
  (func $hello (param $map i32) (result i32)
    (call $set (local.get $map)
      (i32.const 16) (i32.const 6) (i32.const 22) (i32.const 5)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $hello (i32.const 0)))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $hello (i32.const 2))))
