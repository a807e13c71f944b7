package cacheserver_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"pix/cacheserver"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A changingStore has two signed objects in turn under one path.
type changingStore struct {
	store.Store
	infos    [2]*store.PathInfo
	archives [2][]byte
	queries  atomic.Int64
	second   int64        // the number of the query to which the other info is the answer
	opened   atomic.Int64 // number of archives
	served   int          // which of the archives the store sends
}

// Unwrap returns the store with all other capabilities.
func (s *changingStore) Unwrap() store.Store { return s.Store }

func (s *changingStore) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	if path != s.infos[0].Path {
		return nil, &store.NotFoundError{Path: path}
	}
	i := 0
	if s.queries.Add(1) == s.second {
		i = 1
	}
	info := *s.infos[i]
	return &info, nil
}

func (s *changingStore) QueryPathFromHashPart(context.Context, string) (storepath.Path, error) {
	return s.infos[0].Path, nil
}

func (s *changingStore) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	s.opened.Add(1)
	return io.NopCloser(bytes.NewReader(s.archives[s.served])), nil
}

// An upstream cache that answers each query with another signed info never makes the server send one archive under the name of the other
// one, whole or in part.
func TestUpstreamChangesInfo(t *testing.T) {
	key := newKey(t, "test-1")
	src := &changingStore{Store: memstore.New(nil)}
	for i, contents := range []string{strings.Repeat("first!", 20_000), strings.Repeat("second", 20_000)} {
		o := newPushed(t, "object", fileArchive(contents), nil, key)
		src.archives[i] = fileArchive(contents)
		src.infos[i] = &o.n.PathInfo
		src.infos[i].Path = src.infos[0].Path
		signAgain(o, key)
	}
	for _, dir := range []bool{false, true} {
		for src.served = range 2 {
			for src.second = range 6 {
				opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}
				if dir {
					opts.Dir = t.TempDir()
				}
				u := newUpstream(t, src, opts)
				srv := serve(t, nil, u)
				for i, info := range src.infos {
					url := srv.URL + "/nar/" + info.Path.HashPart() + "-" + info.NARHash.Nix32() + ".nar"
					src.queries.Store(0)
					if body, complete := download(t, url, ""); complete && nixhash.Sum(nixhash.SHA256, body) != info.NARHash {
						t.Errorf("query %d, archive %d: the response for archive %d is another one", src.second, src.served, i)
					}
					src.queries.Store(0)
					if body, complete := download(t, url, "bytes=1000-1999"); complete && !bytes.Equal(body, src.archives[i][1000:2000]) {
						t.Errorf("query %d, archive %d: the part of archive %d is one of another one", src.second, src.served, i)
					}
				}
			}
		}
	}
	if src.opened.Load() == 0 {
		t.Error("no archive was fetched")
	}
}

// A client may close an archive twice, before or after its end.
func TestUpstreamArchiveCloses(t *testing.T) {
	mem := memstore.New(nil)
	info := addAddressed(t, mem, storepath.Text, nixhash.SHA256, "contents")
	u := newUpstream(t, mem, nil)
	for _, reads := range []bool{false, true} {
		archive, err := store.ReadNAR(t.Context(), u, info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if reads {
			if _, err := io.ReadAll(archive); err != nil {
				t.Error(err)
			}
		}
		archive.Close()
		archive.Close()
	}
}
