package localstore

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"sync"
	"testing"
	"time"

	"pix/store"
	"pix/storepath"
)

// isCached reports whether the info of a path is cached.
func isCached(s *Store, path storepath.Path) bool {
	info, _ := s.db.CachedInfo(path)
	return info != nil
}

func queryInfo(t *testing.T, s *Store, path storepath.Path) *store.PathInfo {
	t.Helper()
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Cached infos are dropped when any process changes the database.
func TestInfoCache(t *testing.T) {
	ctx := t.Context()
	s := open(t, Options{Root: t.TempDir()})
	path, err := s.AddTextToStore(ctx, "x", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *store.PathInfo { t.Helper(); return queryInfo(t, s, path) }
	if !isCached(s, path) {
		t.Error("a registered info is not cached")
	}
	other := open(t, Options{Root: s.opts.Root})
	addTexts(t, other, 1, false)
	if isCached(s, path) {
		t.Error("a registered info is cached after another change")
	}
	first := ask()
	if !isCached(s, path) {
		t.Fatal("the info is not cached")
	}
	first.Signatures = append(first.Signatures, "mine:x") // the caller owns the returned info
	if again := ask(); len(again.Signatures) != 0 {
		t.Errorf("%v", again.Signatures)
	}
	// A change by this store.
	if err := s.AddSignatures(ctx, path, []string{"key:c2ln"}); err != nil {
		t.Fatal(err)
	}
	if got := ask().Signatures; len(got) != 1 {
		t.Errorf("%v", got)
	}
	// A change by another Store, in this process and in another one.
	if err := other.AddSignatures(ctx, path, []string{"other:c2ln"}); err != nil {
		t.Fatal(err)
	}
	if got := ask().Signatures; len(got) != 2 {
		t.Errorf("%v", got)
	}
	if !isCached(s, path) {
		t.Error("the info is not cached")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInfoCacheOther$")
	cmd.Env = append(os.Environ(), cacheRole+"="+s.opts.Root+" "+string(path))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ask().Signatures; len(got) != 3 {
		t.Errorf("%v", got)
	}
	err = other.invalidatePath(ctx, path)
	if valid, validErr := s.IsValidPath(ctx, path); valid || err != nil || validErr != nil {
		t.Errorf("an invalidated path is valid: %v, %v, %v", valid, err, validErr)
	}
}

// cacheRole is the environment variable that makes the test a process which changes a store.
const cacheRole = "PIX_TEST_INFO_CACHE"

func TestInfoCacheOther(t *testing.T) {
	var root, path string
	if n, _ := fmt.Sscan(os.Getenv(cacheRole), &root, &path); n != 2 {
		t.Skip("the other process of TestInfoCache")
	}
	s, err := Open(t.Context(), &Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := storepath.DefaultDir.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddSignatures(t.Context(), p, []string{"third:c2ln"}); err != nil {
		t.Fatal(err)
	}
}

// A query that starts after a change never returns the state before it.
func TestInfoCacheIsNeverStale(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, &Options{Root: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := s.AddTextToStore(ctx, "x", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	const changes = 200
	var lowerBound sync.Map // a lower bound of the number of signatures
	lowerBound.Store("n", 0)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				least, _ := lowerBound.Load("n")
				info, err := s.QueryPathInfo(ctx, path)
				if err != nil || len(info.Signatures) < least.(int) {
					t.Errorf("%d signatures, %v; want at least %d", len(info.Signatures), err, least)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range changes {
		if err := s.AddSignatures(ctx, path, []string{fmt.Sprintf("key-%d:c2ln", i)}); err != nil {
			t.Fatal(err)
		}
		lowerBound.Store("n", i+1)
	}
	close(done)
	readers.Wait()
}

// An info with very many references is not cached, because an untrusted user may add many of them.
func TestInfoCacheLarge(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), NoSync: true})
	refs := addTexts(t, s, 1001, false)
	for n, want := range map[int]bool{1000: true, 1001: false} {
		path, err := s.AddTextToStore(t.Context(), "x", "x", refs[:n])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.QueryPathInfo(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if info, _ := s.db.CachedInfo(path); (info != nil) != want {
			t.Errorf("with %d references: cached: %v", n, info != nil)
		}
	}
}

// checkCached checks whether an info is cached, and that it equals the info in the database.
func checkCached(t *testing.T, s *Store, path storepath.Path, cached bool) {
	t.Helper()
	got, _ := s.db.CachedInfo(path)
	if (got != nil) != cached {
		t.Errorf("%s: cached: %v, want %v", path, got != nil, cached)
		return
	}
	var want *store.PathInfo
	err := s.db.read(t.Context(), func(c *conn) (err error) {
		want, err = c.pathInfo(s.dir, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got != nil && !reflect.DeepEqual(got, want) {
		t.Errorf("cached: %+v\nin the database: %+v", got, want)
	}
}

// A registered info is cached in the form of the database. Other cached infos stay, unless another process has changed
// the database meanwhile.
func TestInfoCacheOfRegistered(t *testing.T) {
	ctx := t.Context()
	s := open(t, Options{Root: t.TempDir(), NoSignatures: true})
	other := open(t, Options{Root: s.opts.Root})
	text, err := s.AddTextToStore(ctx, "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	compare := func(path storepath.Path, cached bool) { t.Helper(); checkCached(t, s, path, cached) }
	compare(text, true)
	one, archive := object(t, "one", text, text)
	one.References = []storepath.Path{text, one.Path, text}
	one.Signatures = []string{"b:c2ln", "a:c2ln", "b:c2ln"}
	one.Deriver = somePath(t, 1)
	for i, registered := range []time.Time{{}, time.Unix(0, 0), time.Unix(1e9, 5e8)} {
		again := *one
		again.Path = somePath(t, 2+i)
		again.References, again.RegistrationTime = []storepath.Path{text, again.Path}, registered
		if err := s.registerValidPaths(ctx, &again); err != nil {
			t.Fatal(err)
		}
		compare(again.Path, true)
	}
	if err := s.AddToStoreNAR(ctx, one, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	one.Signatures[0], one.References[0] = "changed", "changed" // a change by the caller has no effect on the cache
	compare(one.Path, true)
	compare(text, true)
	// Paths that are already valid.
	one.Signatures, one.References = nil, nil
	if err := s.registerValidPaths(ctx, one); err != nil {
		t.Fatal(err)
	}
	compare(one.Path, false)
	compare(text, true)
	// Other transactions.
	if err := s.AddSignatures(ctx, one.Path, []string{"c:c2ln"}); err != nil {
		t.Fatal(err)
	}
	compare(text, false)
	two, err := s.AddTextToStore(ctx, "two", "two", nil)
	if err != nil {
		t.Fatal(err)
	}
	compare(text, false)
	compare(two, true)
	// Transactions of other processes, before and in between.
	if _, err := other.AddTextToStore(ctx, "three", "three", nil); err != nil {
		t.Fatal(err)
	}
	compare(two, false)
}
