package builder

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pix/internal/testenv"
	"pix/localstore"
	"pix/nixhash"
	"pix/storepath"
)

// newStore opens an empty store.
func newStore(t *testing.T) *localstore.Store {
	t.Helper()
	return openStore(t, localstore.Options{Root: t.TempDir()})
}

// openStore opens a store, which ends with the test.
func openStore(t *testing.T, opts localstore.Options) *localstore.Store {
	t.Helper()
	testenv.RemoveStore(t, opts.Root)
	s, err := localstore.Open(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
}

func sorted(paths ...storepath.Path) []storepath.Path {
	slices.Sort(paths)
	return paths
}

// zeroHash is a hash that no contents have.
func zeroHash(t *testing.T, a nixhash.Algorithm) nixhash.Hash {
	t.Helper()
	h, err := nixhash.FromDigest(a, make([]byte, len(nixhash.Sum(a, nil).Digest())))
	if err != nil {
		t.Fatal(err)
	}
	return h
}
