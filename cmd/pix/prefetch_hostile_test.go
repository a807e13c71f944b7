package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A lyingAdder returns the path of another object for each added one.
type lyingAdder struct{ *memstore.Store }

func (s lyingAdder) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, _ io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	return s.Store.AddToStore(ctx, name, m, a, references, strings.NewReader("other contents"), opts)
}

// The path that prefetch prints follows from the hash that it prints, whatever a store answers.
func TestPrefetchIntoLyingStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prefetching{prefetchOptions: &prefetchOptions{name: "name"}, address: addressing{method: storepath.Flat, algorithm: nixhash.SHA256}}
	honest := memstore.New(nil)
	if path, h, err := p.add(t.Context(), honest, file); err != nil || h != nixhash.Sum(nixhash.SHA256, []byte("contents")) {
		t.Errorf("%s, %s, %v", path, h, err)
	}
	if path, _, err := p.add(t.Context(), lyingAdder{honest}, file); err == nil || !strings.Contains(err.Error(), "not as '") {
		t.Errorf("%s, %v", path, err)
	}
}
