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

// A burstStore needs a second for each answer. Its answers are large. It counts them.
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

// Many clients request large replies at the same time. Their sizes are unknown before the store
// has answered. Clients that wait for memory must not keep the answer of the store.
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
			t.Errorf("%d of 50 connections keep a reply while they wait for memory", 50-again)
		}
		for _, c := range clients {
			c.close()
		}
		w.checkReleased()
	})
}
