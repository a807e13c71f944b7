package server

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// While an upload waits for its client, no timer wakes the processor repeatedly.
func TestStalledUploadSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		ours, theirs := net.Pipe()
		var woken atomic.Int64
		served := make(chan error, 1)
		c := newConn(t.Context(), theirs, w.s, &w.opts, w.m, owner{uid: 1, known: true})
		slow := c.in.onSlow
		c.in.onSlow = func() { woken.Add(1); slow() }
		go func() { served <- c.run() }()
		client := &testClient{t: t, nc: ours, in: wire.NewReader(ours, 4096), served: served}
		var err error
		if client.params, _, err = protocol.ClientHandshake(client.in, ours, w.s.Dir()); err == nil {
			err = client.last()
		}
		if err != nil {
			t.Fatal(err)
		}
		upload := client.encode(&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
		client.begin(wire.AppendUint64(upload, 1<<20))
		time.Sleep(time.Minute)
		if n := woken.Load(); n > 10 {
			t.Errorf("a timer has fired %d times in a minute", n)
		}
		client.close()
		w.checkReleased()
	})
}

// A chattyStore reports an event while it works.
type chattyStore struct{ store.Store }

func (s chattyStore) IsValidPath(ctx context.Context, _ storepath.Path) (bool, error) {
	activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "working"})
	return true, nil
}

// A shutdown delivers the last reply to a client that has not read it yet.
func TestShutdownDeliversReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 0, 0)
		s := &Server{Store: chattyStore{w.s}}
		s.start()
		ours, theirs := net.Pipe()
		c := &testClient{t: t, nc: ours, in: wire.NewReader(ours, 4096)}
		go s.serve(context.Background(), theirs)
		var err error
		if c.params, _, err = protocol.ClientHandshake(c.in, ours, w.s.Dir()); err == nil {
			err = c.last()
		}
		if err != nil {
			t.Fatal(err)
		}
		c.begin(c.encode(&protocol.IsValidPathRequest{Path: w.base}))
		synctest.Wait()
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		if err := c.answer(protocol.IsValidPath); err != nil {
			t.Errorf("the reply: %v", err)
		}
		if err := c.in.Peek(); err != io.EOF {
			t.Errorf("after the reply: %v", err)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}
