package server

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Accept accepts connections and calls serve for each, on a goroutine of its own, until ctx
// is done or the listener is closed; both are no error. It then closes the listener, and
// returns when all calls have: they get ctx, and heed it if they call [Serve]. It does not
// give up where the system has no more file descriptors for the moment.
func Accept(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			conns.Go(func() { serve(ctx, nc) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case isTemporary(err):
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		default:
			return err
		}
	}
}

// isTemporary reports whether accepting may succeed later.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
