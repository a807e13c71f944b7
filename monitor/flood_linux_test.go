package monitor_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"pix/activity"
	"pix/internal/testenv"
	"pix/monitor"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// transferred is the size in bytes of an upload or a flood.
func transferred() int {
	if os.Getenv("PIX_LONG") != "" {
		return 1 << 30
	}
	return 256 << 20
}

// memoryLimit is less than the test transfers, and more than a monitor may hold.
const memoryLimit = 160 << 20

// playHandshake makes a handshake over a monitor, and returns the negotiated parameters.
func (p *proxy) playHandshake(client, daemon net.Conn) (params protocol.Params, fromClient, fromDaemon *wire.Reader) {
	p.t.Helper()
	fromClient, fromDaemon = wire.NewReader(daemon, 64<<10), wire.NewReader(client, 64<<10)
	greeted := make(chan error, 1)
	go func() {
		params, err := protocol.ServerHandshake(fromClient, daemon, storepath.DefaultDir, protocol.Greeting{DaemonVersion: protocol.MaxVersion}, 0)
		if err == nil {
			var b []byte
			b, err = params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLast})
			daemon.Write(b)
		}
		greeted <- err
	}()
	params, _, err := protocol.ClientHandshake(fromDaemon, client, storepath.DefaultDir)
	if err == nil {
		err = <-greeted
	}
	if err == nil {
		_, err = params.ReadMessage(fromDaemon)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return params, fromClient, fromDaemon
}

// A large upload passes, is measured, and is not held.
func TestUploadMemory(t *testing.T) {
	testenv.MaxResident(t, memoryLimit, func(t *testing.T) {
		p := newProxy(t)
		client, daemon := p.dial()
		params, fromClient, fromDaemon := p.playHandshake(client, daemon)
		size := transferred()
		go func() {
			b, err := params.AppendRequest(nil, &protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
			if err != nil {
				t.Error(err)
			}
			client.Write(b)
			w := wire.NewFrameWriter(client)
			for chunk := make([]byte, 64<<10); size > 0; size -= len(chunk) {
				w.Write(chunk)
			}
			w.Close()
		}()
		if _, err := params.ReadRequest(fromClient); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, wire.NewFrameReader(fromClient))
		if err != nil || n != int64(transferred()) {
			t.Fatalf("%d bytes arrived, %v", n, err)
		}
		answer, err := params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "enough"}})
		if err != nil {
			t.Fatal(err)
		}
		p.write(daemon, answer)
		if _, err := params.ReadMessage(fromDaemon); err != nil {
			t.Fatal(err)
		}
		client.Close()
		daemon.Close()
		p.checkTotal(n, monitor.FromClient)
	})
}

// A daemon that floods its client is not held up, and its messages are not held.
func TestFloodMemory(t *testing.T) {
	testenv.MaxResident(t, memoryLimit, func(t *testing.T) {
		p := newProxy(t)
		client, daemon := p.dial()
		params, _, _ := p.playHandshake(client, daemon)
		b, err := params.AppendRequest(nil, &protocol.SyncWithGCRequest{})
		if err != nil {
			t.Fatal(err)
		}
		p.write(client, b)
		message, err := params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: strings.Repeat("flood ", 20)}})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			block := bytes.Repeat(message, 500)
			for sent := 0; sent < transferred(); sent += len(block) {
				if _, err := daemon.Write(block); err != nil {
					t.Error(err)
				}
			}
			daemon.Close()
		}()
		n, err := io.Copy(io.Discard, client)
		if err != nil || n < int64(transferred()) {
			t.Fatalf("%d bytes arrived, %v", n, err)
		}
		client.Close()
		p.checkTotal(n, monitor.FromDaemon)
	})
}

// checkTotal checks that the events report at least so many bytes.
func (p *proxy) checkTotal(n int64, from monitor.Direction) {
	p.t.Helper()
	for _, e := range p.seen() {
		if e.Raw != nil {
			p.t.Logf("%v", e)
		}
		if e.Operation != nil {
			p.t.Logf("%v", e)
		}
		if c := e.Close; c != nil && (from == monitor.FromClient && c.Up >= n || from == monitor.FromDaemon && c.Down >= n) {
			return
		}
	}
	p.t.Errorf("no event says that the %s has sent %d bytes", from, n)
}
