package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/protocol"
	"pix/wire"
)

// A client that sends one byte per second is served, and delays no other client.
func TestOneByteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		slow, other := w.connect(1, false), w.connect(2, false)
		p := slow.encode(&protocol.IsValidPathRequest{Path: w.base})
		go func() {
			for i := range p {
				slow.nc.Write(p[i : i+1])
				time.Sleep(time.Second)
			}
		}()
		answered := make(chan error, 1)
		go func() { answered <- slow.answer(protocol.IsValidPath) }()
		for range 20 {
			start := time.Now()
			if err := other.ask(wanted(4000)); err != nil || time.Since(start) > 0 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			time.Sleep(time.Second)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		slow.close()
		other.close()
		w.checkReleased()
	})
}

// Such a client cannot hold memory for long that other connections of its user wait for.
func TestOneByteASecondOfMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 1<<20, 0)
		w.opts.StallTimeout = time.Hour
		var slow []*testClient
		for range 3 {
			c := w.connect(1, false)
			p := c.encode(wanted(4000))
			go func() {
				c.nc.Write(p[:len(p)/2])
				for _, b := range p[len(p)/2:] {
					if _, err := c.nc.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			synctest.Wait()
			slow = append(slow, c)
		}
		c := w.connect(1, false)
		start := time.Now()
		if err := c.ask(wanted(2000)); err != nil || time.Since(start) > 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.close()
		for _, c := range slow {
			c.close()
		}
		time.Sleep(time.Minute)
		w.checkReleased()
	})
}

// A connection is closed if its handshake takes too long. Other clients are served at the same
// time.
func TestSlowGreetings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			ours, theirs := net.Pipe()
			wg.Go(func() {
				err := newConn(context.Background(), theirs, w.s, nil, w.m, owner{uid: uint32(i)}).run()
				if took := time.Since(start); !errors.Is(err, ErrStalled) || took != 30*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
			wg.Go(func() {
				hello := wire.AppendStrings(wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion)), make([]string, 1000))
				for _, b := range hello {
					if _, err := ours.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			wg.Go(func() { io.Copy(io.Discard, ours) })
		}
		c := w.connect(1, false)
		if err := c.ask(wanted(4000)); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.close()
		wg.Wait()
		w.checkReleased()
	})
}

// A handshake that is too long is refused, and takes no memory from others.
func TestLongGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		ours, theirs := net.Pipe()
		served := make(chan error)
		go func() { served <- newConn(context.Background(), theirs, w.s, nil, w.m, owner{}).run() }()
		go io.Copy(io.Discard, ours)
		hello := wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion))
		ours.Write(wire.AppendUint64(hello, 1024))
		for range 1000 {
			if _, err := ours.Write(wire.AppendString(nil, string(make([]byte, 60<<10)))); err != nil {
				break
			}
		}
		if err := <-served; !errors.Is(err, errTooLarge) {
			t.Errorf("%v", err)
		}
		w.checkReleased()
	})
}
