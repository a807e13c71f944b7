package cacheserver_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pix/cacheserver"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A hangingStore is a store that never sends the archive of one path.
type hangingStore struct {
	store.Store
	hangs storepath.Path
}

// Unwrap returns the store with all other capabilities.
func (s *hangingStore) Unwrap() store.Store { return s.Store }

func (s *hangingStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path != s.hangs {
		return store.ReadNAR(ctx, s.Store, path)
	}
	return io.NopCloser(readerFunc(func([]byte) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})), nil
}

// A fetch for which no client waits ends after some time, and the upstream cache continues to fetch other archives.
func TestAbandonedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newKey(t, "test-1")
		mem := memstore.New(nil)
		archive := fileArchive("other")
		hanging, other := addSigned(t, mem, "hanging", fileArchive("hanging"), key), addSigned(t, mem, "other", archive, key)
		src := &hangingStore{mem, hanging.Path}
		opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: t.TempDir(), Fetches: 1}
		u := newUpstream(t, src, opts)
		r, err := store.ReadNAR(t.Context(), u, hanging.Path)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		r, err = store.ReadNAR(t.Context(), u, other.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, archive) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	})
}
