package localstore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/temproots"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// open opens a store in a directory, until the test ends.
func open(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Root == "" && opts.StateDir == "" {
		t.Fatal("without a root it is the store of this machine")
	}
	testenv.RemoveStore(t, opts.Root)
	s, err := Open(t.Context(), &opts)
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

// info returns an info of a path that is not content-addressed.
func info(t testing.TB, name string, references ...storepath.Path) *store.PathInfo {
	t.Helper()
	path, err := storepath.DefaultDir.MakePath("test", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
	if err != nil {
		t.Fatal(err)
	}
	references = slices.Sorted(slices.Values(references))
	return &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, []byte(name)), NARSize: 17, References: references}
}

// registerValidPaths makes paths valid without objects, or changes the infos of valid ones.
func (s *Store) registerValidPaths(ctx context.Context, infos ...*store.PathInfo) error {
	_, err := s.register(ctx, temproots.Held{}, true, infos...)
	return err
}

func TestRegister(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	ctx := t.Context()
	a := info(t, "a")
	a.References = []storepath.Path{a.Path}
	b := info(t, "b", a.Path)

	var missing *store.MissingReferenceError
	if err := s.registerValidPaths(ctx, b); !errors.As(err, &missing) || missing.Path != b.Path || missing.Reference != a.Path {
		t.Fatalf("registering with an invalid reference: %v", err)
	}
	if valid, err := s.IsValidPath(ctx, b.Path); valid || err != nil {
		t.Fatal(valid, err)
	}
	if err := s.registerValidPaths(ctx, b, a); err != nil {
		t.Fatal(err)
	}
	got, err := s.QueryPathInfo(ctx, b.Path)
	if err != nil || !slices.Equal(got.References, b.References) || got.NARHash != b.NARHash || got.NARSize != 17 || got.RegistrationTime.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
	if paths, err := s.QueryReferrers(ctx, a.Path); err != nil || len(paths) != 2 {
		t.Error(paths, err)
	}
	var inUse *InUseError
	if err := s.invalidatePath(ctx, a.Path); !errors.As(err, &inUse) || !slices.Equal(inUse.Referrers, []storepath.Path{b.Path}) {
		t.Error(err)
	}

	// Another who opens the store sees the same.
	r := open(t, Options{Root: root, ReadOnly: true})
	if paths, err := r.QueryAllValidPaths(ctx); err != nil || len(paths) != 2 {
		t.Error(paths, err)
	}
	if err := r.invalidatePath(ctx, b.Path); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	for _, p := range []storepath.Path{b.Path, a.Path, a.Path} {
		if err := s.invalidatePath(ctx, p); err != nil {
			t.Error(err)
		}
	}
	if paths, err := r.QueryAllValidPaths(ctx); err != nil || len(paths) != 0 {
		t.Error(paths, err)
	}

	c, d := info(t, "c"), info(t, "d", a.Path)
	c.References, d.References = []storepath.Path{d.Path}, []storepath.Path{c.Path}
	var cycle *store.ReferenceCycleError
	if err := s.registerValidPaths(ctx, c, d); !errors.As(err, &cycle) {
		t.Error(err)
	}
}

func TestWiped(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := open(t, Options{Root: root})
	ctx := t.Context()
	a := info(t, "a")
	if err := s.registerValidPaths(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * nixdb.GoneInterval)
	if valid, err := s.IsValidPath(ctx, a.Path); valid || err != nil {
		t.Fatal(valid, err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := s.registerValidPaths(ctx, a); err != nil {
		t.Fatal(err)
	}
	other := open(t, Options{Root: root})
	if valid, err := other.IsValidPath(ctx, a.Path); !valid || err != nil {
		t.Error(valid, err)
	}
}
