package cacheserver

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pix/nar"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A stuckStore sends nothing of the archive of one path until the context ends.
type stuckStore struct {
	*memstore.Store
	stuck storepath.Path
}

func (s *stuckStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path != s.stuck {
		return s.Store.NARFromPath(ctx, path)
	}
	return io.NopCloser(waitReader{ctx}), nil
}

// A waitReader waits for the end of a context.
type waitReader struct{ ctx context.Context }

func (r waitReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, context.Cause(r.ctx)
}

// A fetch without clients is cancelled after some time, and other fetches go on.
func TestLonelyFetch(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		var paths []storepath.Path
		for _, name := range []string{"stuck", "good"} {
			path, err := store.AddText(t.Context(), mem, name, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		u, err := NewUpstream(&stuckStore{mem, paths[0]}, &UpstreamOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		stuck, err := u.NARFromPath(t.Context(), paths[0])
		if err != nil {
			t.Fatal(err)
		}
		stuck.Close() // the client has left
		time.Sleep(maxLonely + time.Second)
		synctest.Wait()
		u.fetched.mu.Lock()
		if n := len(u.fetched.growing); n != 0 {
			t.Errorf("%d fetches still run", n)
		}
		u.fetched.mu.Unlock()
		good, err := u.NARFromPath(t.Context(), paths[1])
		if err != nil {
			t.Fatalf("another archive: %v", err)
		}
		defer good.Close()
		var text bytes.Buffer
		if _, err := nar.Copy(&text, good); err != nil {
			t.Errorf("another archive: %v", err)
		}
	})
}
