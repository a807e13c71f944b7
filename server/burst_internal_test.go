package server

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A burstStore takes a second to answer, with large replies. It counts the replies that it has
// given.
type burstStore struct {
	store.Store
	references []storepath.Path
	answers    atomic.Int64
}

func (s *burstStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	time.Sleep(time.Second)
	s.answers.Add(1)
	info, err := s.Store.QueryPathInfo(ctx, path)
	if err == nil {
		info.References = append(info.References, s.references...)
	}
	return info, err
}

// Many clients ask at the same moment for large replies whose size is not known before the store
// has answered. Those that wait for memory then do not keep the replies of the store meanwhile.
func TestBurstOfLargeReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWorld(t, 16<<20, 0) // a share has space for 10 replies
		s := &burstStore{Store: w.s, references: wanted(2500).Paths}
		w.s = s
		var clients []*testClient
		for range 50 {
			c := w.connect(1, false)
			c.begin(c.encode(&protocol.QueryPathInfoRequest{Path: w.base}))
			clients = append(clients, c)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		asked := s.answers.Load()
		var crowd sync.WaitGroup
		for i, c := range clients {
			crowd.Go(func() {
				if err := c.answer(protocol.QueryPathInfo); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
		}
		crowd.Wait()
		if again := s.answers.Load() - asked; again < 30 {
			t.Errorf("%d of 50 clients keep a reply while they wait for memory", 50-again)
		}
		for _, c := range clients {
			c.close()
		}
		w.checkReleased()
	})
}
