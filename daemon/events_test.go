package daemon_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/protocol"
	"pix/wire"
)

// A daemon may send events before it reads the upload.
func TestLogFloodDuringUpload(t *testing.T) {
	const lines, size = 64, 1 << 20
	play(t, newest, nil, func(p *peer) {
		p.next()
		for range lines {
			p.log(string(bytes.Repeat([]byte("x"), size)))
		}
		if err := wire.NewFrameReader(p.in).Drain(); err != nil {
			t.Errorf("the body: %v", err)
		}
		p.answerAdded()
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		heard := 0
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			time.Sleep(time.Millisecond) // a slow handler delays the daemon, and loses nothing
			heard += len(e.(activity.Log).Text)
		}))
		path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		if err != nil || path != helloPath {
			t.Errorf("%s, %v", path, err)
		}
		if heard != lines*size {
			t.Errorf("got %d bytes of logs, want %d", heard, lines*size)
		}
		stillGood(t, ctx, c)
	})
}

func (p *peer) answerAdded() {
	reply := new(protocol.AddToStoreReply)
	reply.Info.Path = helloPath
	reply.Info.NARHash = zeroHash
	p.answer(protocol.AddToStore, reply)
}

// Log lines of a query are dropped if they come faster than they are handled. Other queries do
// not wait.
func TestLogFloodDuringQuery(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		for range 64 {
			p.log(string(bytes.Repeat([]byte("x"), 1<<20)))
		}
		p.answer(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
		p.serve()
	}, func(ctx context.Context, c *daemon.Conn) {
		var last string
		hear := activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
			time.Sleep(time.Hour)
			last = e.(activity.Log).Text
		}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if valid, err := c.IsValidPath(hear, helloPath); !valid || err != nil {
				t.Errorf("%v, %v", valid, err)
			}
		}()
		synctest.Wait()
		start := time.Now()
		stillGood(t, ctx, c)
		if time.Since(start) > 0 {
			t.Error("another query waited for a slow handler")
		}
		<-done
		if want := "messages of the daemon were dropped"; !bytes.Contains([]byte(last), []byte(want)) {
			t.Errorf("the last event is %.80q, want %q in it", last, want)
		}
	})
}

// A panicking handler ends its call, but not readLoop.
func TestPanickingHandler(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.next()
		p.log("boo")
		io.Copy(io.Discard, p.in)
	}, func(ctx context.Context, c *daemon.Conn) {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			ctx := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { panic("boo") }))
			c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		}()
		broken(t, ctx, c, nil)
	})
}
