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

// What is remembered is forgotten when the database changes, whoever changes it.
func TestInfoCache(t *testing.T) {
	ctx := t.Context()
	s, err := Open(ctx, &Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path, err := s.AddTextToStore(ctx, "x", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	remembered := func() bool {
		info, _ := s.db.CachedInfo(path)
		return info != nil
	}
	ask := func() *store.PathInfo {
		t.Helper()
		info, err := s.QueryPathInfo(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if !remembered() {
		t.Error("what was registered is not remembered")
	}
	other, err := Open(ctx, &Options{Root: s.opts.Root})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	addTexts(t, other, 1, false)
	if remembered() {
		t.Error("what was registered is remembered after another change")
	}
	first := ask()
	if !remembered() {
		t.Fatal("nothing is remembered")
	}
	first.Signatures = append(first.Signatures, "mine:x") // what was given is the caller's own
	if again := ask(); len(again.Signatures) != 0 {
		t.Errorf("%v", again.Signatures)
	}
	// By ourselves.
	if err := s.AddSignatures(ctx, path, []string{"key:c2ln"}); err != nil {
		t.Fatal(err)
	}
	if got := ask().Signatures; len(got) != 1 {
		t.Errorf("%v", got)
	}
	// By another who has the store open, in this process and in another one.
	if err := other.AddSignatures(ctx, path, []string{"other:c2ln"}); err != nil {
		t.Fatal(err)
	}
	if got := ask().Signatures; len(got) != 2 {
		t.Errorf("%v", got)
	}
	if !remembered() {
		t.Error("nothing is remembered")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInfoCacheOther$")
	cmd.Env = append(os.Environ(), cacheRole+"="+s.opts.Root+" "+string(path))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ask().Signatures; len(got) != 3 {
		t.Errorf("%v", got)
	}
	if err := other.invalidatePath(ctx, path); err != nil {
		t.Fatal(err)
	}
	if valid, err := s.IsValidPath(ctx, path); valid || err != nil {
		t.Errorf("a path that is gone is valid: %v", err)
	}
}

// cacheRole makes the test a process that changes a store.
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

// Nobody who asks after a change was made sees what was before.
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
	var made sync.Map // how many signatures there are at least
	made.Store("n", 0)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				least, _ := made.Load("n")
				info, err := s.QueryPathInfo(ctx, path)
				if err != nil || len(info.Signatures) < least.(int) {
					t.Errorf("%d signatures, %v; there are at least %d", len(info.Signatures), err, least)
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
		made.Store("n", i+1)
	}
	close(done)
	readers.Wait()
}

// What is known of a path that refers to very many others is not remembered: everybody may add some.
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
			t.Errorf("with %d references: remembered: %v", n, info != nil)
		}
	}
}

// What was registered is remembered as the database has it, and what was known before is not
// forgotten, unless somebody else has changed something meanwhile.
func TestInfoCacheOfRegistered(t *testing.T) {
	ctx := t.Context()
	s := open(t, Options{Root: t.TempDir(), NoSignatures: true})
	other := open(t, Options{Root: s.opts.Root})
	text, err := s.AddTextToStore(ctx, "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	compare := func(path storepath.Path, isRemembered bool) {
		t.Helper()
		got, _ := s.db.CachedInfo(path)
		if (got != nil) != isRemembered {
			t.Errorf("%s: remembered: %v, want %v", path, got != nil, isRemembered)
			return
		}
		var want *store.PathInfo
		err := other.db.read(ctx, func(c *conn) (err error) {
			want, err = c.pathInfo(s.dir, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got != nil && !reflect.DeepEqual(got, want) {
			t.Errorf("remembered: %+v\nin the database: %+v", got, want)
		}
	}
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
	one.Signatures[0], one.References[0] = "changed", "changed" // what the caller does with his own does not matter
	compare(one.Path, true)
	compare(text, true)
	// What was valid already.
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
	// Those of others, before and in between.
	if _, err := other.AddTextToStore(ctx, "three", "three", nil); err != nil {
		t.Fatal(err)
	}
	compare(two, false)
}
