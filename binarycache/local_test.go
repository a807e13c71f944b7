package binarycache_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"pix/binarycache"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// openLocal opens a new embedded store that trusts the given keys.
func openLocal(t *testing.T, trusted ...signature.PublicKey) *localstore.Store {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), TrustedKeys: signature.NewKeySet(trusted...), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A machine without Nix copies a package from a cache behind HTTP to the embedded store: despite faults on
// the way, and only if a trusted key has signed it.
func TestIntoLocalStore(t *testing.T) {
	key := newKey(t)
	f := newFake()
	library := f.put(t, "library", "zstd", 300_000)
	program := f.put(t, "program", "xz", 200_000)
	program.References = []storepath.Path{library.Path, program.Path}
	for _, info := range []*store.PathInfo{&library.PathInfo, &program.PathInfo} {
		if err := info.Sign(key); err != nil {
			t.Fatal(err)
		}
	}
	f.putNarInfo(t, library)
	f.putNarInfo(t, program)
	var count atomic.Int64
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		file := f.files[strings.TrimPrefix(r.URL.Path, "/")]
		if strings.HasPrefix(r.URL.Path, "/nar/") && r.Header.Get("Range") == "" {
			cutAfter(w, file, 100_000)
		}
		if strings.HasSuffix(r.URL.Path, ".narinfo") && count.Add(1) == 1 {
			http.Error(w, "not yet", 503)
			return true
		}
		return false
	}
	c := f.open(t, binarycache.HTTPOptions{})
	roots := []storepath.Path{program.Path}

	local := openLocal(t, key.Public())
	copied, err := store.Copy(t.Context(), local, c, roots, nil)
	if err != nil || len(copied) != 2 {
		t.Fatal(len(copied), err)
	}
	if bad, err := local.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
	back := open(t, "file://"+t.TempDir(), nil)
	if _, err := store.Copy(t.Context(), back, local, roots, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []storepath.Path{library.Path, program.Path} {
		a, err := readAll(t.Context(), back, want)
		b, failed := readAll(t.Context(), c, want)
		if a != b || err != nil || failed != nil {
			t.Errorf("%s: %v, %v", want, err, failed)
		}
		info, err := back.QueryPathInfo(t.Context(), want)
		if err != nil || len(info.Signatures) != 1 {
			t.Errorf("%+v, %v", info, err)
		}
	}

	var untrusted *store.UntrustedError
	if _, err := store.Copy(t.Context(), openLocal(t), c, roots, nil); !errors.As(err, &untrusted) {
		t.Errorf("without a trusted signature: %v", err)
	}
	b := []byte(f.files[library.URL])
	b[len(b)/2] ^= 1
	f.files[library.URL] = string(b)
	careful := openLocal(t, key.Public())
	if _, err := store.Copy(t.Context(), careful, c, roots, nil); err == nil {
		t.Error("a damaged archive is accepted")
	}
	if all, err := careful.QueryAllValidPaths(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("valid: %q, %v", all, err)
	}
}
