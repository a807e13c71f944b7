package daemontest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/wire"
)

// Faults are what goes wrong on each of a daemon's connections. The zero values are
// nothing.
type Faults struct {
	// Delay is how long the daemon thinks before each operation.
	Delay time.Duration

	// Logs is how many lines it says before each operation, and LogSize how many bytes
	// each has.
	Logs, LogSize int

	// Fail is called before each operation, with its number on the connection, beginning
	// with 0. An error is what the client is told; the connection goes on.
	Fail func(n int, req protocol.Request) error

	// CutAfter breaks the connection when the daemon has written that many bytes; 0 is
	// never.
	CutAfter int64

	// DeafAfter breaks the connection when the daemon has read that many bytes; 0 is never.
	DeafAfter int64

	// SilentAfter makes the daemon write nothing more after that many bytes, without
	// hanging up; 0 is never.
	SilentAfter int64

	// Lies replace what the daemon writes: the eight bytes at each offset by that number.
	// Lengths, counts, booleans and kinds of messages are numbers. An offset counts what
	// was written on the connection, from 0; it should be a multiple of 8.
	Lies map[int64]uint64
}

// ErrCut is how a connection ended that a fault has broken.
var ErrCut = errors.New("the connection was cut by a fault")

// An injector is one connection's faults.
type injector struct {
	*Faults

	mu  sync.Mutex
	ops int
}

func newInjector(f *Faults) *injector { return &injector{Faults: f} }

// before is the server's hook.
func (i *injector) before(ctx context.Context, req protocol.Request) error {
	i.mu.Lock()
	n := i.ops
	i.ops++
	i.mu.Unlock()
	if i.Delay > 0 {
		select {
		case <-time.After(i.Delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if i.Logs > 0 {
		line, h := strings.Repeat("x", i.LogSize), activity.HandlerOf(ctx)
		for range i.Logs {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			h.HandleEvent(activity.Log{Text: line})
		}
	}
	if i.Fail != nil {
		return i.Fail(n, req)
	}
	return nil
}

// wrap returns the connection with the faults that are about bytes.
func (i *injector) wrap(nc net.Conn) net.Conn {
	if i.CutAfter == 0 && i.DeafAfter == 0 && i.SilentAfter == 0 && len(i.Lies) == 0 {
		return nc
	}
	return &faultyConn{Conn: nc, faults: i.Faults}
}

// A faultyConn is the server's end of a connection. It is read by one goroutine and
// written by one.
type faultyConn struct {
	net.Conn
	faults        *Faults
	read, written int64
}

func (c *faultyConn) Read(p []byte) (int, error) {
	most := c.faults.DeafAfter
	if most > 0 {
		if c.read >= most {
			c.Close()
			return 0, ErrCut
		}
		p = p[:min(int64(len(p)), most-c.read)]
	}
	n, err := c.Conn.Read(p)
	c.read += int64(n)
	return n, err
}

func (c *faultyConn) Write(p []byte) (int, error) {
	said := c.lie(p)
	if cut := c.faults.CutAfter; cut > 0 && c.written+int64(len(p)) >= cut {
		n, _ := c.Conn.Write(said[:cut-c.written])
		c.written += int64(n)
		c.Close()
		return n, ErrCut
	}
	if silent := c.faults.SilentAfter; silent > 0 && c.written+int64(len(p)) > silent {
		said = said[:max(0, silent-c.written)]
	}
	if len(said) > 0 {
		if n, err := c.Conn.Write(said); err != nil {
			return n, err
		}
	}
	c.written += int64(len(p))
	return len(p), nil
}

// lie returns p with the numbers replaced that lie in it, or begin or end in it.
func (c *faultyConn) lie(p []byte) []byte {
	if len(c.faults.Lies) == 0 {
		return p
	}
	p = append([]byte(nil), p...)
	for at, n := range c.faults.Lies {
		var word [wire.WordSize]byte
		binary.LittleEndian.PutUint64(word[:], n)
		for i, b := range word {
			if k := at + int64(i) - c.written; 0 <= k && k < int64(len(p)) {
				p[k] = b
			}
		}
	}
	return p
}
