package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

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
			if n := src.reads(); n > len(roots)*120/100 && name != "daemon of a local store" {
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
	for end := time.Now().Add(time.Minute); valid < 70 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
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
