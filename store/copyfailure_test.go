package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/binarycache"
	"pix/daemon"
	"pix/daemontest"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A spoiled store has some archives that cannot be read to their end, or are wrong. It counts
// the reads of each archive.
type spoiled struct {
	*memstore.Store
	cut, wrong map[storepath.Path]bool
	mends      bool // the second read succeeds

	mu   sync.Mutex
	read map[storepath.Path]int
}

func newSpoiled(s *memstore.Store) *spoiled {
	return &spoiled{Store: s, cut: make(map[storepath.Path]bool), wrong: make(map[storepath.Path]bool), read: make(map[storepath.Path]int)}
}

// A passingError is retryable.
type passingError struct{ error }

func (passingError) Retryable() bool { return true }

func (s *spoiled) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	s.read[path]++
	n := s.read[path]
	s.mu.Unlock()
	archive, err := s.Store.NARFromPath(ctx, path)
	if err != nil || s.mends && n > 1 {
		return archive, err
	}
	whole, err := io.ReadAll(archive)
	switch {
	case s.cut[path]:
		err := error(io.ErrUnexpectedEOF)
		if s.mends {
			err = passingError{err}
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), failing{err})), nil
	case s.wrong[path]:
		whole[len(whole)-40] ^= 1 // a byte of the contents
	}
	return io.NopCloser(bytes.NewReader(whole)), err
}

// reads returns the total number of reads.
func (s *spoiled) reads() (n int) {
	for _, times := range s.read {
		n += times
	}
	return n
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// destinations returns the kinds of stores to which objects are copied.
func destinations(t *testing.T) map[string]store.Store {
	t.Helper()
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	below, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() }) // after the daemon
	servedPool, err := daemon.Open(t.Context(), daemontest.New(t, &daemontest.Options{Store: below}), nil)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := binarycache.Open(t.Context(), "file://"+t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := daemon.Open(t.Context(), daemontest.New(t, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(31)}) // adds objects one by one
	oldPool, err := daemon.Open(t.Context(), old, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range []store.Store{local, cache, pool, oldPool, servedPool} {
			s.Close()
		}
	})
	return map[string]store.Store{
		"memory": memstore.New(nil), "one by one": simple{memstore.New(nil)},
		"local store": local, "binary cache": cache, "daemon": pool, "old daemon": oldPool, "daemon of a local store": servedPool,
	}
}

// A bad archive does not keep the others from being copied: neither a small one nor a large one
// that the destination has read in part when the error occurs.
func TestCopySomeFail(t *testing.T) {
	mem := memstore.New(nil)
	good := chain(t, mem, 60, 100)
	bad := manyTexts(t, mem, "bad", 3, 100)
	wrong := manyTexts(t, mem, "wrong", 2, 100)
	large := manyTexts(t, mem, "large", 6, 2<<20)
	above, err := mem.AddTextToStore(t.Context(), "above", "", []storepath.Path{bad[0], good[5]})
	if err != nil {
		t.Fatal(err)
	}
	roots := slices.Concat(bad[:2], large, wrong, good, []storepath.Path{above}, bad[2:])
	for name, dst := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			src := newSpoiled(mem)
			src.cut = pathSet(append([]storepath.Path{large[1]}, bad...)...)
			src.wrong = pathSet(append([]storepath.Path{large[4]}, wrong...)...)
			if strings.Contains(name, "daemon") { // its errors do not name the archive
				src.cut, src.wrong = pathSet(slices.Concat(bad, wrong, []storepath.Path{large[1], large[4]})...), nil
			}
			opts := &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}
			copied, err := store.Copy(t.Context(), dst, src, roots, opts)
			var failed *store.CopyError
			if !errors.As(err, &failed) {
				t.Fatal(err)
			}
			if len(failed.Failed) != 8 || failed.Total != len(roots) || len(copied) != 64 || failed.Err != nil {
				t.Errorf("%d failed, %d were copied: %v", len(failed.Failed), len(copied), err)
			}
			for _, f := range failed.Failed {
				if dependent := errors.As(f.Err, new(*store.MissingReferenceError)); dependent != (f.Path == above) {
					t.Errorf("%s: %v", f.Path, f.Err)
				}
			}
			if text := err.Error(); !strings.Contains(text, "64 of 72 paths were copied") || !strings.Contains(text, "4 more failed") || !strings.Contains(text, "1 path that refers") {
				t.Error(text)
			}
			valid, err := dst.QueryValidPaths(t.Context(), roots, false)
			if err != nil || len(valid) != 64 {
				t.Errorf("%d are valid, %v", len(valid), err)
			}
			// The next copy copies the rest.
			again := newSpoiled(mem)
			copied, err = store.Copy(t.Context(), dst, again, roots, opts)
			if err != nil || len(copied) != 8 || again.reads() != 8 {
				t.Errorf("%d were copied, %d read, %v", len(copied), again.reads(), err)
			}
		})
	}
}

// Only an archive with a retryable error is read a second time.
func TestCopyReadsAgain(t *testing.T) {
	mem := memstore.New(nil)
	good := chain(t, mem, 60, 100)
	large := manyTexts(t, mem, "large", 4, 2<<20)
	roots := slices.Concat(good, large)
	for name, dst := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			src := newSpoiled(mem)
			src.mends, src.cut = true, pathSet(good[3], good[30], large[2])
			copied, err := store.Copy(t.Context(), dst, src, roots, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
			if err != nil || len(copied) != len(roots) {
				t.Errorf("%d were copied, %v", len(copied), err)
			}
			canRestart := name == "local store" || name == "binary cache"
			if canRestart && src.reads() != len(roots)+3 {
				t.Errorf("%d archives were read", src.reads())
			}
		})
	}
}

// A daemon breaks the connection when an archive cannot be read. Archives that were read ahead
// are not read again.
func TestCopyKeepsReadArchives(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 500, 20_000)
	for name, dst := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			src := newSpoiled(mem)
			src.cut = pathSet(roots[20], roots[100], roots[180], roots[260], roots[340], roots[420])
			copied, err := store.Copy(t.Context(), dst, src, roots, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
			if len(copied) != len(roots)-6 {
				t.Errorf("%d were copied, %v", len(copied), err)
			}
			// A daemon may register objects after the stream has ended, and after the client's
			// query.
			if n := src.reads(); n > len(roots)*105/100 && name != "daemon of a local store" {
				t.Errorf("%d archives were read", n)
			}
		})
	}
}

// If no archive can be read, only some are tried.
func TestCopyGivesUp(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 1000, 100)
	for name, dst := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			src := newSpoiled(mem)
			src.cut = pathSet(roots...)
			_, err := store.Copy(t.Context(), dst, src, roots, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}, Parallel: 4})
			if err == nil {
				t.Error("it succeeded")
			}
			if n := src.reads(); n > 400 {
				t.Errorf("%d archives were read", n)
			}
		})
	}
}

// Objects that a daemon received before the stream ended early are valid, even if its store
// registers many objects at a time.
func TestBrokenStreamKeeps(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 100, 50_000)
	dst := destinations(t)["daemon of a local store"]
	imports := func(yield func(store.Import, error) bool) {
		for i, path := range roots {
			info, err := mem.QueryPathInfo(t.Context(), path)
			if err != nil {
				t.Error(err)
			}
			archive, err := mem.NARFromPath(t.Context(), path)
			if i == 80 {
				archive = io.NopCloser(failing{io.ErrUnexpectedEOF})
			}
			if err != nil || !yield(store.Import{Info: info, NAR: archive}, nil) {
				return
			}
		}
	}
	if err := store.AddMultiple(t.Context(), dst, len(roots), imports, &store.AddOptions{NoSignatures: true}); err == nil {
		t.Error("it succeeded")
	}
	valid := 0
	for end := time.Now().Add(10 * time.Second); valid < 70 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		paths, err := dst.QueryValidPaths(t.Context(), roots, false)
		if err != nil {
			t.Fatal(err)
		}
		valid = len(paths)
	}
	if valid < 70 {
		t.Errorf("%d are valid", valid)
	}
}

// Objects that arrived before a cancellation are not copied again.
func TestCancelledCopyKeeps(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 100, 100)
	s := destinations(t)["local store"]
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := store.Copy(ctx, s, mem, roots, &store.CopyOptions{
		AddOptions: store.AddOptions{NoSignatures: true},
		Progress: func(*store.PathInfo) {
			if n++; n == 60 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if valid, err := s.QueryValidPaths(t.Context(), roots, false); err != nil || len(valid) < 50 {
		t.Errorf("%d are valid, %v", len(valid), err)
	}
}

// An object with a reference that no store has is a separate error, and not one about the
// requested path.
func TestCopyWithoutReference(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 2, 100)
	info, err := mem.QueryPathInfo(t.Context(), paths[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, dst := range destinations(t) {
		err := store.CopyObjects(t.Context(), dst, mem, []*store.PathInfo{info}, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
		if err == nil || name == "binary cache" && (errors.Is(err, store.ErrNotFound) || !errors.As(err, new(*store.MissingReferenceError))) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Objects of an import that a store refuses do not keep it from adding the others.
func TestImportSomeFail(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 3, 100)
	others := manyTexts(t, mem, "other", 3, 100)
	var export bytes.Buffer
	if err := store.ExportPaths(t.Context(), &export, mem, append(others, paths[1:]...)); err != nil { // without the first of the chain
		t.Fatal(err)
	}
	for name, dst := range destinations(t) {
		imported, err := store.ImportPaths(t.Context(), dst, bytes.NewReader(export.Bytes()), &store.AddOptions{NoSignatures: true})
		var failed *store.AddError
		if !errors.As(err, &failed) || len(failed.Failed) != 2 || len(imported) != 3 {
			t.Errorf("%s: %d were imported, %v", name, len(imported), err)
		}
	}
}

// manyTexts adds n texts without references.
func manyTexts(t testing.TB, s *memstore.Store, name string, n, size int) []storepath.Path {
	t.Helper()
	var paths []storepath.Path
	for i := range n {
		path, err := s.AddTextToStore(t.Context(), fmt.Sprintf("%s-%d", name, i), strings.Repeat("x", size)+fmt.Sprint(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func pathSet(paths ...storepath.Path) map[storepath.Path]bool {
	set := make(map[storepath.Path]bool)
	for _, path := range paths {
		set[path] = true
	}
	return set
}

// An object whose info a destination refuses does not keep the others from being copied.
func TestCopyRefusedInfos(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 40, 100)
	for fault, spoil := range map[string]func(*store.PathInfo){
		"claims an address": func(info *store.PathInfo) { info.CA = mustCA(t, info.NARHash) },
		"other hash": func(info *store.PathInfo) {
			info.NARHash = nixhash.Sum(nixhash.SHA512, nil)
			info.CA = storepath.ContentAddress{}
		},
		"lost reference": func(info *store.PathInfo) {
			info.References = []storepath.Path{lost}
			info.CA = storepath.ContentAddress{}
		},
		"other directory": func(info *store.PathInfo) { info.Deriver = "/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x.drv" },
	} {
		for name, dst := range destinations(t) {
			t.Run(fault+"/"+name, func(t *testing.T) {
				var infos []*store.PathInfo
				for i, path := range roots {
					info, err := mem.QueryPathInfo(t.Context(), path)
					if err != nil {
						t.Fatal(err)
					}
					if i == 7 {
						spoil(info)
					}
					infos = append(infos, info)
				}
				err := store.CopyObjects(t.Context(), dst, mem, infos, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
				valid, queryErr := dst.QueryValidPaths(t.Context(), roots, false)
				if queryErr != nil || len(valid) < len(roots)-1 {
					t.Errorf("%d are valid, %v, %v", len(valid), queryErr, err)
				}
				var failed *store.CopyError
				if len(valid) < len(roots) && (!errors.As(err, &failed) || failed.Err != nil || len(failed.Failed) != 1 || failed.Failed[0].Path != roots[7]) {
					t.Error(err)
				}
			})
		}
	}
}

// The number of attempts with a destination that refuses everything is limited.
func TestCopyAllRefused(t *testing.T) {
	mem := memstore.New(nil)
	for i := range 60 {
		text := mustText(t, mem, fmt.Sprint("text-", i))
		text.CA, text.Path = storepath.ContentAddress{}, storepath.Path(fmt.Sprintf("/nix/store/%032d-unsigned", i))
		archive, err := mem.NARFromPath(t.Context(), mustText(t, mem, fmt.Sprint("text-", i)).Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := mem.AddToStoreNAR(t.Context(), text, archive, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
	}
	for name, dst := range destinations(t) {
		if name != "daemon" && name != "old daemon" { // the others do not check signatures
			continue
		}
		src := newSpoiled(mem)
		var infos []*store.PathInfo
		for i := range 60 {
			info, err := mem.QueryPathInfo(t.Context(), storepath.Path(fmt.Sprintf("/nix/store/%032d-unsigned", i)))
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
		err := store.CopyObjects(t.Context(), dst, src, infos, nil)
		if err == nil || src.reads() > 6*60 {
			t.Errorf("%s: %d archives were read, %v", name, src.reads(), err)
		}
	}
}

func mustText(t *testing.T, s *memstore.Store, name string) *store.PathInfo {
	t.Helper()
	path, err := s.AddTextToStore(t.Context(), name, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

const lost = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-lost")

func mustCA(t *testing.T, hash nixhash.Hash) storepath.ContentAddress {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, hash)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Contents that do not match the method of their content address concern no other object.
func TestCopyContentsOfOtherKind(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 40, 100)
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Target: "/x"})
	w.Close()
	ca := mustCA(t, nixhash.Sum(nixhash.SHA256, []byte("x")))
	link, err := storepath.DefaultDir.FixedOutputPath("link", ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	src := &withLink{mem, link, archive.Bytes()}
	infos := []*store.PathInfo{{Path: link, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()), CA: ca}}
	for _, path := range roots {
		info, err := mem.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	for name, dst := range destinations(t) {
		if name == "binary cache" { // it does not check content addresses
			continue
		}
		err := store.CopyObjects(t.Context(), dst, src, infos, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
		var failed *store.CopyError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Path != link || len(failed.Copied) != len(roots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A withLink store also has the archive of a symlink.
type withLink struct {
	*memstore.Store
	link    storepath.Path
	archive []byte
}

func (s *withLink) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path == s.link {
		return io.NopCloser(bytes.NewReader(s.archive)), nil
	}
	return s.Store.NARFromPath(ctx, path)
}
