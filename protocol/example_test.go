package protocol_test

import (
	"bytes"
	"errors"
	"fmt"

	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A monitor between a client and a daemon decodes the traffic and prints it.
func Example() {
	params := protocol.Params{Version: protocol.MakeVersion(34), Dir: storepath.DefaultDir}
	sent, err := params.AppendRequest(nil, &protocol.IsValidPathRequest{Path: "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(sent), "bytes")

	received, err := params.ReadRequest(wire.NewReader(bytes.NewReader(sent), 4096))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(params.TraceRequest(received, protocol.TraceBody))
	fmt.Println(params.TraceReply(received.Op(), &protocol.IsValidPathReply{Valid: true}, protocol.TraceBody))
	// Output:
	// 72 bytes
	// IsValidPath path=/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello
	// IsValidPath valid=true
}

// An operation that the daemon does not support is an error before anything is sent.
func ExampleParams_Check() {
	nix28 := protocol.Params{Version: protocol.MakeVersion(34)}
	err := nix28.Check(protocol.AddPermRoot)
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	fmt.Println(err)
	// Output:
	// true
	// the daemon does not support operation AddPermRoot: it speaks protocol 1.34, 1.36 is needed
}
