package localstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A haltingReader returns some bytes, reports that, and then waits until it is released.
type haltingReader struct {
	io.Reader
	halted chan struct{}
	resume chan struct{}
}

func halfOf(archive []byte) *haltingReader {
	h := &haltingReader{halted: make(chan struct{}), resume: make(chan struct{})}
	h.Reader = io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), (*halt)(h), bytes.NewReader(archive[len(archive)/2:]))
	return h
}

type halt haltingReader

func (h *halt) Read([]byte) (int, error) {
	close(h.halted)
	<-h.resume
	return 0, io.EOF
}

// A client that uploads an object slowly, or never completes it, does not block another client that adds the same
// object.
func TestSlowUpload(t *testing.T) {
	root := t.TempDir()
	s, other := open(t, Options{Root: root}), open(t, Options{Root: root})
	opts := &store.AddOptions{NoSignatures: true}
	large := fileNAR(strings.Repeat("x", 2<<20))
	for name, slow := range map[string]func(info *store.PathInfo, archive io.Reader) error{
		"one": func(info *store.PathInfo, archive io.Reader) error {
			return s.AddToStoreNAR(t.Context(), info, archive, opts)
		},
		"one of many": func(info *store.PathInfo, archive io.Reader) error {
			return s.AddMultipleToStore(t.Context(), 1, func(yield func(store.Import, error) bool) {
				yield(store.Import{Info: info, NAR: archive}, nil)
			}, opts)
		},
		"the one after it": func(info *store.PathInfo, archive io.Reader) error {
			return s.AddMultipleToStore(t.Context(), 2, func(yield func(store.Import, error) bool) {
				if yield(store.Import{Info: info, NAR: bytes.NewReader(large)}, nil) {
					next := infoOf(t, "next", large)
					yield(store.Import{Info: next, NAR: archive}, nil)
				}
			}, opts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			info := infoOf(t, strings.ReplaceAll(name, " ", "-"), large)
			archive := halfOf(large)
			done := make(chan error)
			go func() { done <- slow(info, archive) }()
			<-archive.halted
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := other.AddToStoreNAR(ctx, info, bytes.NewReader(large), opts); err != nil {
				t.Errorf("during the slow upload: %v", err)
			}
			if entries, err := filepath.Glob(filepath.Join(s.storeDir, "*.lock")); err != nil || len(entries) > 0 {
				t.Errorf("locks: %q, %v", entries, err)
			}
			close(archive.resume)
			if err := <-done; err != nil {
				t.Errorf("the slow upload: %v", err)
			}
			if !bytes.Equal(readNAR(t, other, info.Path), large) {
				t.Error("the archive is a different one")
			}
		})
	}
	checkCanonical(t, s)
}

// If an archive is longer than its info says, it is not read beyond the point at which that is detected.
func TestEndlessArchive(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	archive := fileNAR(strings.Repeat("x", 1<<20))
	info := infoOf(t, "x", archive)
	info.NARSize = 400 << 10
	for name, add := range map[string]func(r io.Reader) error{
		"one": func(r io.Reader) error {
			return s.AddToStoreNAR(t.Context(), info, r, &store.AddOptions{NoSignatures: true})
		},
		"many": func(r io.Reader) error {
			return s.AddMultipleToStore(t.Context(), 1, func(yield func(store.Import, error) bool) {
				yield(store.Import{Info: info, NAR: r}, nil)
			}, &store.AddOptions{NoSignatures: true})
		},
	} {
		r := bytes.NewReader(archive)
		err := add(r)
		var mismatch *store.MismatchError
		if !errors.As(err, &mismatch) || mismatch.What != "size" {
			t.Errorf("%s: %v", name, err)
		}
		if read := len(archive) - r.Len(); read > 200<<10 {
			t.Errorf("%s: %d bytes were read of %d", name, read, info.NARSize)
		}
	}
	if left := onDisk(t, s); len(left) > 0 {
		t.Errorf("the store has %q", left)
	}
}

// While an object is replaced, one of the two always exists.
func TestReplacedInOneStep(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	opts := &store.AddOptions{NoSignatures: true, Repair: true}
	for _, archive := range [][]byte{treeNAR(), fileNAR("x")} {
		info := infoOf(t, "replaced", archive)
		add := func() error { return s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts) }
		if err := add(); err != nil {
			t.Fatal(err)
		}
		stop, looked := make(chan struct{}), make(chan int)
		go func() {
			missing := 0
			for {
				if _, err := os.Lstat(s.object(info.Path)); err != nil {
					missing++
				}
				select {
				case <-stop:
					looked <- missing
					return
				default:
				}
			}
		}()
		for range 200 {
			if err := add(); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		if missing := <-looked; missing > 0 {
			t.Errorf("the object was missing %d times", missing)
		}
		readNAR(t, s, info.Path)
	}
	if _, err := s.AddToStore(t.Context(), "tree", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), opts); err != nil {
		t.Error(err)
	}
	checkCanonical(t, s)
	if left := onDisk(t, s); len(left) != 3 {
		t.Errorf("the store has %q", left)
	}
}
