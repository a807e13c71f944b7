package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/daemon"
)

// A fault is an event on a connection at some offset.
type fault int

const (
	noFault  fault = iota
	cut            // the connection ends
	stall          // nothing is transferred any more
	cancelIt       // the caller's context is cancelled
)

func (f fault) String() string { return [...]string{"nothing", "cut", "stalled", "cancelled"}[f] }

// A faultyConn counts the transferred bytes after it was armed, and triggers its fault at an
// offset in one direction.
type faultyConn struct {
	net.Conn
	cancel context.CancelFunc
	closed chan struct{}

	mu       sync.Mutex
	armed    bool
	fault    fault
	outward  bool // the direction of the fault: to the daemon
	at       int  // the offset
	sent     int
	received int
}

func (f *faultyConn) arm(what fault, outward bool, at int, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.fault, f.outward, f.at, f.cancel = true, what, outward, at, cancel
}

// room returns how many of n bytes may be transferred in a direction. If none may, it returns
// the fault.
func (f *faultyConn) room(outward bool, n int) (int, fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed || f.fault == noFault || f.outward != outward {
		return n, noFault
	}
	passed := f.received
	if outward {
		passed = f.sent
	}
	if left := f.at - passed; left > 0 {
		return min(n, left), noFault
	}
	what := f.fault
	if what == cancelIt {
		f.fault = noFault
		f.cancel()
		return n, noFault
	}
	return 0, what
}

func (f *faultyConn) happen(what fault) error {
	if what == stall {
		<-f.closed
	}
	f.Close()
	return io.EOF
}

func (f *faultyConn) Read(p []byte) (int, error) {
	n, what := f.room(false, len(p))
	if what != noFault {
		return 0, f.happen(what)
	}
	n, err := f.Conn.Read(p[:n])
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		f.received += n
	}
	return n, err
}

func (f *faultyConn) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, what := f.room(true, len(p)-done)
		if what != noFault {
			return done, f.happen(what)
		}
		n, err = f.Conn.Write(p[done : done+n])
		done += n
		f.mu.Lock()
		if f.armed {
			f.sent += n
		}
		f.mu.Unlock()
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (f *faultyConn) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return f.Conn.Close()
}

// chaos makes a call, and queries beside it, on a connection with a fault. It returns the
// number of bytes transferred in each direction.
func chaos(t *testing.T, op fakeOp, what fault, outward bool, offset int) (sent, received int) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		go fakeServe(theirs, op.daemonVersion(), (*peer).serveAll)
		nc := &faultyConn{Conn: ours, closed: make(chan struct{})}
		c, err := daemon.NewConn(t.Context(), nc, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		nc.arm(what, outward, offset, cancel)

		neighbour := make(chan error)
		go func() { neighbour <- askNeighbour(t.Context(), c) }()
		start := time.Now()
		err = op.call(ctx, c)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		judge(t, "the call", err, what)
		judge(t, "a neighbour", <-neighbour, what)

		if synctest.Wait(); c.Err() == nil && (what == noFault || what == cancelIt) {
			stillGood(t, t.Context(), c)
		} else if what == noFault {
			t.Errorf("the connection is broken: %v", c.Err())
		}
		nc.mu.Lock()
		defer nc.mu.Unlock()
		sent, received = nc.sent, nc.received
	})
	if t.Failed() {
		t.Fatalf("%s, %s at %d, outward %v", op.name, what, offset, outward)
	}
	return sent, received
}

// judge fails the test unless the fault explains the error.
func judge(t *testing.T, who string, err error, what fault) {
	t.Helper()
	explained := errors.Is(err, daemon.ErrConnLost) && what != noFault ||
		errors.Is(err, context.Canceled) && what == cancelIt ||
		errors.Is(err, context.DeadlineExceeded) && what == stall
	if err != nil && !explained {
		t.Errorf("%s: %v", who, err)
	}
}

// askNeighbour makes two queries, and returns an error if an answer is wrong.
func askNeighbour(ctx context.Context, c *daemon.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for range 2 {
		valid, err := c.IsValidPath(ctx, absent)
		if err != nil {
			return err
		}
		if valid {
			return errWrong
		}
	}
	return nil
}

// TestChaos cuts, stalls and cancels at every offset of the first ten operations, and at some
// offsets of the others. With PIX_CHAOS=full it tries every offset of all operations.
func TestChaos(t *testing.T) {
	full := os.Getenv("PIX_CHAOS") == "full"
	for i, op := range fakeOps() {
		t.Run(op.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			sent, received := chaos(t, op, noFault, false, 0)
			for _, outward := range []bool{true, false} {
				total := received
				if outward {
					total = sent
				}
				every := full || i < 10 && !testing.Short()
				for offset := range total + 1 {
					if !every && random.IntN(total) >= 24 {
						continue
					}
					for _, what := range []fault{cut, stall, cancelIt} {
						chaos(t, op, what, outward, offset)
					}
				}
			}
			t.Log(fmt.Sprint(sent, " bytes sent, ", received, " received"))
		})
	}
}
