// Sets x-wasm on requests (`hello`, or what is configured) and x-wasm-response on responses, and removes
// x-remove-me: as the `header` guests in Rust and AssemblyScript do. It speaks the ABI itself, to show
// all that a guest in Go needs of a host; an SDK says the same in fewer words.
//
// Build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared.
package main

import (
	"fmt"
	"unsafe"
)

const (
	requestHeaders  = 0
	responseHeaders = 2
	configuration   = 7
	actionContinue  = 0
	logWarn         = 3
)

// The host calls `_initialize`; main never runs in a module of this build mode.
func main() {}

var greeting = []byte("hello")

// What the host was given room in, for as long as a callback runs.
var lent [][]byte

//go:wasmimport env proxy_log
func hostLog(level uint32, text unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func hostBuffer(kind, start, most uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_replace_header_map_value
func hostReplace(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func hostAdd(kind uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func hostRemove(kind uint32, name unsafe.Pointer, nameSize uint32) uint32

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	room := make([]byte, size)
	lent = append(lent, room)
	return unsafe.Pointer(unsafe.SliceData(room))
}

//go:wasmexport proxy_on_configure
func onConfigure(_, size uint32) uint32 {
	if size == 0 {
		return 1
	}
	var data, length uint32
	status := hostBuffer(configuration, 0, size, unsafe.Pointer(&data), unsafe.Pointer(&length))
	if status != 0 || len(lent) == 0 {
		return 0
	}
	greeting = append([]byte(nil), lent[len(lent)-1][:length]...)
	lent = nil
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(_, _, _ uint32) uint32 {
	name := []byte("x-remove-me")
	check("x-remove-me", hostRemove(requestHeaders, at(name), size(name)))
	name = []byte("x-wasm")
	check("x-wasm", hostReplace(requestHeaders, at(name), size(name), at(greeting), size(greeting)))
	return actionContinue
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(_, _, _ uint32) uint32 {
	name, value := []byte("x-wasm-response"), []byte("hello")
	check("x-wasm-response", hostAdd(responseHeaders, at(name), size(name), at(value), size(value)))
	return actionContinue
}

// An error of the host is the guest's to handle: the field is left out, and the log says so.
func check(field string, status uint32) {
	if status != 0 {
		text := []byte(fmt.Sprintf("%s cannot be written: status %d", field, status))
		hostLog(logWarn, at(text), size(text))
	}
}

func at(bytes []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(bytes)) }

func size(bytes []byte) uint32 { return uint32(len(bytes)) }
