package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

var zeroHash = nixhash.SHA256Hash([32]byte{})

// greet plays the other end of a connection during the handshake of a client.
func greet(t *testing.T, ctx context.Context, opts *daemon.Options, other func(net.Conn)) (*daemon.Conn, error) {
	theirs, ours := net.Pipe()
	go func() {
		other(theirs)
		theirs.Close()
	}()
	c, err := daemon.NewConn(ctx, ours, opts)
	if err != nil {
		var dial *daemon.DialError
		if !errors.As(err, &dial) {
			t.Errorf("%v is not a DialError", err)
		}
		if _, err := ours.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection was not closed: %v", err)
		}
	}
	return c, err
}

func TestSilentDaemon(t *testing.T) {
	for name, other := range map[string]func(net.Conn){
		"says nothing, reads nothing": func(nc net.Conn) { time.Sleep(time.Hour) },
		"says nothing":                func(nc net.Conn) { io.Copy(io.Discard, nc) },
		"says 1.38 and never sends features": func(nc net.Conn) {
			go nc.Write(wire.AppendUint64(wire.AppendUint64(nil, 0x6478696f), 1<<8|38))
			io.Copy(io.Discard, nc)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := greet(t, t.Context(), nil, other)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want DeadlineExceeded", err)
				}
				if took := time.Since(start); took != 10*time.Second {
					t.Errorf("it took %v", took)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				if _, err := greet(t, ctx, &daemon.Options{HandshakeTimeout: -1}, other); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want Canceled", err)
				}
				time.Sleep(2 * time.Hour) // until the other end has closed
			})
		})
	}
}

func TestNoDaemon(t *testing.T) {
	for said, want := range map[string]string{
		"SSH-2.0-OpenSSH_9.2\r\n":          `received "SSH-2.0-OpenSSH_9.2"`,
		"hi":                               `received "hi"`,
		"HTTP/1.1 400 Bad Request\r\n\r\n": `received "HTTP/1.1 400 Bad Request"`,
		"\x00\x01\x02":                     "received 000102",
		"oixd\x00\x00\x00\x01":             "received 6f69786400000001",
		"oixd\x00\x00\x00\x00\x11\x01\x00\x00\x00\x00\x00\x00": "it speaks protocol 1.17",
		"oixd\x00\x00\x00\x00\x26\x02\x00\x00\x00\x00\x00\x00": "it speaks protocol 2.38",
		"oixd\x00\x00\x00\x00\x26\x01\x01\x00\x00\x00\x00\x00": "it speaks protocol 257.38",
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := greet(t, t.Context(), nil, func(nc net.Conn) {
				go io.Copy(io.Discard, nc)
				nc.Write([]byte(said))
				time.Sleep(time.Hour)
			})
			var mismatch *protocol.MismatchError
			if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want a MismatchError with %q", said, err, want)
			}
			if time.Since(start) > 0 {
				t.Errorf("%q: it took %v", said, time.Since(start))
			}
			time.Sleep(2 * time.Hour)
		})
	}
}

// The daemon closes the connection after the n-th byte of the handshake, for every n.
func TestHangUpDuringHandshake(t *testing.T) {
	var said []byte
	for _, w := range []uint64{0x6478696f, 1<<8 | 38, 1} {
		said = wire.AppendUint64(said, w)
	}
	said = wire.AppendString(said, "some-feature")
	said = wire.AppendString(said, "2.34.8")
	said = wire.AppendUint64(said, 1)
	said = wire.AppendUint64(said, uint64(protocol.MessageLast))
	for n := range len(said) + 1 {
		synctest.Test(t, func(t *testing.T) {
			c, err := greet(t, t.Context(), nil, func(nc net.Conn) {
				go io.Copy(io.Discard, nc)
				nc.Write(said[:n])
				if n == len(said) {
					time.Sleep(time.Second) // after a complete handshake
				}
			})
			if n == len(said) {
				if err != nil {
					t.Fatalf("a complete handshake: %v", err)
				}
				if c.NixVersion() != "2.34.8" || c.Trust() != protocol.Trusted || c.Version() != 1<<8|38 || c.Features() != 0 {
					t.Errorf("Nix %q, %v, %v, %v", c.NixVersion(), c.Trust(), c.Version(), c.Features())
				}
				c.Close()
				time.Sleep(2 * time.Second)
			} else if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "closed the connection") {
				t.Errorf("%d bytes of the handshake: %v", n, err)
			}
		})
	}
}

func TestRefusedDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []activity.Event
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) { heard = append(heard, e) }))
		_, err := greet(t, ctx, nil, func(nc net.Conn) {
			r := wire.NewReader(nc, 0)
			params, err := protocol.ServerHandshake(r, nc, storepath.DefaultDir, protocol.Greeting{DaemonVersion: 1<<8 | 35}, 0)
			if err != nil {
				t.Error(err)
			}
			for _, m := range []protocol.Message{
				{Kind: protocol.MessageLog, Event: activity.Log{Text: "who are you?"}},
				{Kind: protocol.MessageError, Err: &activity.Error{Message: "user is not allowed to connect"}},
			} {
				b, err := params.AppendMessage(nil, m)
				if err != nil {
					t.Error(err)
				}
				nc.Write(b)
			}
		})
		var said *activity.Error
		if !errors.As(err, &said) || said.Message != "user is not allowed to connect" {
			t.Errorf("%v, want the daemon's error", err)
		}
		if len(heard) != 1 {
			t.Errorf("heard %v", heard)
		}
	})
}

func TestDialNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory",
		file:                       "connection refused",
		dir:                        "connection refused",
	} {
		_, err := daemon.Dial(t.Context(), addr, nil)
		var dial *daemon.DialError
		if !errors.As(err, &dial) || dial.Addr != addr || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), addr) != 1 {
			t.Errorf("Dial(%q): %v, want %q", addr, err, want)
		}
	}
}

func ExampleDial() {
	ctx := context.Background()
	c, err := daemon.Dial(ctx, "/nowhere/daemon-socket", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	fmt.Println(path, err)
	// Output: connecting to the Nix daemon at '/nowhere/daemon-socket': connect: no such file or directory
}

// A deafConn is a program that has printed something and closed its input.
type deafConn struct {
	net.Conn
	said io.Reader
}

func (c *deafConn) Read(p []byte) (int, error)  { return c.said.Read(p) }
func (c *deafConn) Write(p []byte) (int, error) { return 0, syscall.EPIPE }

// The output of a program before its exit is not lost, although nothing can be written to the
// program.
func TestDeafProgram(t *testing.T) {
	for said, want := range map[string]string{
		"Welcome to the machine!": `received "Welcome to the machine!"`,
		"":                        "the daemon closed the connection",
	} {
		_, ours := net.Pipe()
		_, err := daemon.NewConn(t.Context(), &deafConn{ours, strings.NewReader(said)}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
