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

// Faults are the faults of each connection of a daemon. The zero values mean no fault.
type Faults struct {
	// Delay is the delay before each operation.
	Delay time.Duration

	// Logs is the number of log lines before each operation. LogSize is the size of each in
	// bytes.
	Logs, LogSize int

	// Fail is called before each operation, with its number on the connection, starting with 0.
	// The client gets the returned error, and the connection stays usable.
	Fail func(n int, req protocol.Request) error

	// CutAfter closes the connection when the daemon has written that many bytes. 0 means
	// never.
	CutAfter int64

	// CutReadAfter closes the connection when the daemon has read that many bytes. 0 means
	// never.
	CutReadAfter int64

	// SilentAfter makes the daemon write nothing after that many bytes, without closing the
	// connection. 0 means never.
	SilentAfter int64

	// Overwrite replaces the eight bytes that the daemon writes at an offset by a number.
	// Lengths, counts, booleans and kinds of messages are numbers. The offset counts the bytes
	// written on the connection, from 0. It should be a multiple of 8.
	Overwrite map[int64]uint64
}

// ErrCut is the error of a connection that a fault has closed.
var ErrCut = errors.New("the connection was cut by a fault")

// An injector injects the faults of one connection.
type injector struct {
	*Faults

	mu  sync.Mutex
	ops int
}

func newInjector(f *Faults) *injector { return &injector{Faults: f} }

// beforeOp is called by the server before each operation.
func (i *injector) beforeOp(ctx context.Context, req protocol.Request) error {
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

// wrap returns a connection with the faults of reading and writing.
func (i *injector) wrap(nc net.Conn) net.Conn {
	if i.CutAfter == 0 && i.CutReadAfter == 0 && i.SilentAfter == 0 && len(i.Overwrite) == 0 {
		return nc
	}
	return &faultyConn{Conn: nc, faults: i.Faults}
}

// A faultyConn is the server's end of a connection. One goroutine reads it, and one writes it.
type faultyConn struct {
	net.Conn
	faults        *Faults
	read, written int64
}

func (c *faultyConn) Read(p []byte) (int, error) {
	most := c.faults.CutReadAfter
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
	out := c.overwrite(p)
	if cut := c.faults.CutAfter; cut > 0 && c.written+int64(len(p)) >= cut {
		n, _ := c.Conn.Write(out[:cut-c.written])
		c.written += int64(n)
		c.Close()
		return n, ErrCut
	}
	if silent := c.faults.SilentAfter; silent > 0 && c.written+int64(len(p)) > silent {
		out = out[:max(0, silent-c.written)]
	}
	if len(out) > 0 {
		if n, err := c.Conn.Write(out); err != nil {
			return n, err
		}
	}
	c.written += int64(len(p))
	return len(p), nil
}

// overwrite returns p with the replaced numbers, including those that are only partly in p.
func (c *faultyConn) overwrite(p []byte) []byte {
	if len(c.faults.Overwrite) == 0 {
		return p
	}
	p = append([]byte(nil), p...)
	for at, n := range c.faults.Overwrite {
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
