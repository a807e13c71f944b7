package server_test

import (
	"context"
	"fmt"
	"net"

	"pix/protocol"
	"pix/server"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// Serve a store in memory on a connection in memory, to a client that only performs the
// handshake.
func ExampleServe() {
	client, connection := net.Pipe()
	served := make(chan error)
	go func() {
		served <- server.Serve(context.Background(), connection, memstore.New(nil), &server.Options{Trusted: true})
	}()

	params, greeting, err := protocol.ClientHandshake(wire.NewReader(client, 0), client, storepath.DefaultDir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("protocol", params.Version, "by", greeting.NixVersion+", we are", greeting.Trust)
	client.Close()
	fmt.Println("it ended with", <-served)
	// Output:
	// protocol 1.38 by 2.34.8-pix, we are trusted
	// it ended with <nil>
}
