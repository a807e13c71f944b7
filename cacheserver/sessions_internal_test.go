package cacheserver

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/store"
	"pix/store/memstore"
)

// A sessionStore counts its open sessions.
type sessionStore struct {
	store.Store
	open *atomic.Int32
}

func (s sessionStore) Session(context.Context) (store.Store, error) {
	s.open.Add(1)
	return s, nil
}

func (s sessionStore) Close() error {
	s.open.Add(-1)
	return nil
}

// A session protects uploaded paths for ten to twenty minutes, and longer while a call uses it. A server that runs for long has few.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int32
		all := newSessions(sessionStore{memstore.New(nil), &open})
		use := func() func() {
			t.Helper()
			_, end, err := all.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return end
		}
		most := int32(0)
		for range 100 {
			use()()
			most = max(most, open.Load())
			time.Sleep(time.Minute)
		}
		if most > 3 {
			t.Errorf("%d sessions were open", most)
		}
		end := use()
		time.Sleep(keepUploads - time.Minute)
		if open.Load() == 0 {
			t.Error("the path is not protected any more")
		}
		time.Sleep(3 * keepUploads)
		synctest.Wait()
		if open.Load() != 1 {
			t.Errorf("%d sessions are open while a call uses one", open.Load())
		}
		if end(); open.Load() != 0 {
			t.Errorf("%d sessions are open after the last call", open.Load())
		}
		use()()
		if all.close(); open.Load() != 0 {
			t.Errorf("%d sessions are open after close", open.Load())
		}
	})
}
