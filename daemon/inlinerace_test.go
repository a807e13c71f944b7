//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pix/daemon"
	"pix/protocol"
)

// A query may begin at the moment when readLoop decides to read again. Neither this query nor
// Close waits for the other.
func TestInlineIdleRace(t *testing.T) {
	u := listening(t, (*peer).serve)
	for range 20 {
		c, err := daemon.DialTransport(t.Context(), u, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.IdleFor(time.Microsecond)
		for range 500 {
			if _, err := c.IsValidPath(t.Context(), helloPath); err != nil {
				t.Fatal(err)
			}
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			c.Close()
		}()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("Close waits for a reader that has no reason to stop")
		}
	}
}

// A daemon that answers twice does not answer the next query.
func TestInlineTwoAnswers(t *testing.T) {
	for range 20 {
		inlined(t, nil, func(p *peer) {
			p.next()
			p.write(append(p.answerBytes(true), p.answerBytes(true)...), nil)
			if p.next() != nil {
				p.write(p.answerBytes(false), nil)
			}
		}, func(ctx context.Context, c *daemon.Conn) {
			if valid, err := c.IsValidPath(ctx, helloPath); !valid || err != nil {
				t.Errorf("the first answer: %v, %v", valid, err)
			}
			if valid, err := c.IsValidPath(ctx, absent); !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("the second answer was taken for another query: %v, %v", valid, err)
			}
			broken(t, ctx, c, nil)
		})
	}
}

// A message that has arrived while no call was pending is the answer to none of the calls that
// begin together afterwards.
func TestInlineUnrequestedManyCallers(t *testing.T) {
	for range 50 {
		idle, sent := make(chan bool), make(chan bool)
		inlined(t, nil, func(p *peer) {
			<-idle
			p.write(p.answerBytes(true), nil)
			close(sent)
			for p.next() != nil {
				p.write(p.answerBytes(false), nil)
			}
		}, func(ctx context.Context, c *daemon.Conn) {
			close(idle)
			<-sent
			var callers sync.WaitGroup
			start := make(chan struct{})
			for range 8 {
				callers.Go(func() {
					<-start
					if valid, err := c.IsValidPath(ctx, absent); valid || !errors.Is(err, daemon.ErrConnLost) {
						t.Errorf("a query got the unrequested answer: %v, %v", valid, err)
					}
				})
			}
			close(start)
			callers.Wait()
			broken(t, ctx, c, nil)
		})
	}
}

// A pool does not take an unrequested message of an idle connection for the answer to a query.
func TestInlineUnrequestedInPool(t *testing.T) {
	for range 20 {
		var once sync.Once
		idle, sent := make(chan bool), make(chan bool)
		u := listening(t, func(p *peer) {
			first := false
			once.Do(func() { first = true })
			if !first {
				p.serveAll()
				return
			}
			for range warmUp {
				p.answer(p.next().Op(), &protocol.IsValidPathReply{Valid: true})
			}
			<-idle
			p.write(p.answerBytes(true), nil)
			close(sent)
			for req := p.next(); req != nil; req = p.next() {
				p.do(req)
			}
		})
		pool, err := daemon.Open(t.Context(), u, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range warmUp {
			if _, err := pool.IsValidPath(t.Context(), helloPath); err != nil {
				t.Fatal(err)
			}
		}
		close(idle)
		<-sent
		var calls sync.WaitGroup
		calls.Go(func() {
			if _, err := pool.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil && !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("an addition: %v", err)
			}
		})
		calls.Go(func() {
			if valid, err := pool.IsValidPath(t.Context(), absent); valid || err != nil {
				t.Errorf("a query got the unrequested answer: %v, %v", valid, err)
			}
		})
		calls.Wait()
		pool.Close()
	}
}
