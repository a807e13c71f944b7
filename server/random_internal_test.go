package server

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A moodyStore sometimes is slow, fails, panics, reports many events, or does not read an
// upload to its end.
type moodyStore struct {
	store.Store
	base storepath.Path
}

func (s *moodyStore) mood(ctx context.Context) error {
	switch rand.IntN(8) {
	case 0:
		panic("a moody store")
	case 1:
		return errors.New("not today")
	case 2:
		for range 1000 {
			activity.HandlerOf(ctx).HandleEvent(activity.Log{Text: "a line about the work"})
		}
	case 3:
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Duration(rand.IntN(int(20 * time.Millisecond)))):
		}
	}
	return nil
}

func (s *moodyStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if err := s.mood(ctx); err != nil {
		return nil, err
	}
	return s.Store.QueryPathInfo(ctx, path)
}

func (s *moodyStore) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	if err := s.mood(ctx); err != nil {
		return nil, err
	}
	q, _ := store.As[store.ReferrerQuerier](s.Store)
	return q.QueryReferrers(ctx, path)
}

func (s *moodyStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if err := s.mood(ctx); err != nil {
		return nil, err
	}
	return store.ReadNAR(ctx, s.Store, path)
}

func (s *moodyStore) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := s.mood(ctx); err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, contents, int64(rand.IntN(200<<10))); err != nil && err != io.EOF {
		return nil, err
	}
	return s.Store.QueryPathInfo(ctx, s.base)
}

func (s *moodyStore) VerifyStore(ctx context.Context, checkContents, repair bool) (bool, error) {
	return false, s.mood(ctx)
}

// Clients and a store act at random. When the clients have gone, everything is released, and
// another client is served at once.
func TestServerAtRandom(t *testing.T) {
	w := newTestWorld(t, 2<<20, 500)
	w.s = &moodyStore{w.s, w.base}
	w.opts.StallTimeout = 200 * time.Millisecond
	l, err := net.Listen("unix", filepath.Join(testenv.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialing sync.Mutex
	dial := func(uid uint32, trusted bool) *testClient {
		dialing.Lock()
		defer dialing.Unlock()
		ours, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return w.serve(ours, theirs, uid, trusted)
	}
	end := time.Now().Add(2 * time.Second)
	var crowd sync.WaitGroup
	for i := range 48 {
		crowd.Go(func() {
			for time.Now().Before(end) {
				c := dial(uint32(i%6), i%6 == 0)
				for range 1 + rand.IntN(4) {
					c.behave(w.base)
				}
				c.close()
			}
		})
	}
	crowd.Wait()
	w.checkReleased()
	w.s = w.s.(*moodyStore).Store
	c := dial(1, false)
	start := time.Now()
	if err := c.ask(wanted(1000)); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("another client: %v after %v", err, time.Since(start))
	}
	c.close()
	w.checkReleased()
}

// behave sends a request or a part of it, and reads the reply, a part of it, or nothing.
func (c *testClient) behave(base storepath.Path) {
	requests := []protocol.Request{
		&protocol.QueryPathInfoRequest{Path: base}, &protocol.QueryReferrersRequest{Path: base}, wanted(1 + rand.IntN(3000)),
		&protocol.NarFromPathRequest{Path: base}, &protocol.VerifyStoreRequest{},
		&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256},
	}
	req := requests[rand.IntN(len(requests))]
	p := c.encode(req)
	if req.Op() == protocol.AddToStore {
		n := rand.IntN(100 << 10)
		p = append(wire.AppendUint64(p, uint64(n)), make([]byte, n+8)...)
	}
	c.nc.SetDeadline(time.Now().Add(time.Duration(50+rand.IntN(300)) * time.Millisecond))
	switch rand.IntN(6) {
	case 0: // hang up or stall in the middle
		c.nc.Write(p[:rand.IntN(len(p))])
		time.Sleep(time.Duration(rand.IntN(int(10 * time.Millisecond))))
	case 1: // read nothing
		c.nc.Write(p)
	case 2: // read only a part
		c.nc.Write(p)
		io.CopyN(io.Discard, c.nc, rand.Int64N(10_000))
	case 3: // close the writing end
		c.nc.Write(p)
		c.nc.(*net.UnixConn).CloseWrite()
		io.CopyN(io.Discard, c.nc, rand.Int64N(100_000))
	default:
		c.nc.Write(p)
		c.answer(req.Op())
	}
}
