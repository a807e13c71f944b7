package localstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// bigTree returns the archive of a directory with many small files, which takes a while to restore.
func bigTree(name string) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for i := range 200 {
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: fmt.Sprintf("f%03d", i), Size: uint64(len(name))})
		io.WriteString(w, name)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// While Nix collects again and again, pix adds directories in every way, and no file in them is lost.
func TestAddTreesWhileNixCollects(t *testing.T) {
	eachShared(t, func(t *testing.T, d *realnix.Daemon, l layout) {
		runLocal(t, d, "nix-store", "--init")
		deadline := time.Now().Add(sharedTime())
		s := open(t, Options{Root: d.HostPath("/")})
		var all sync.WaitGroup
		added := make([]int, 3)
		for i, add := range []func(ctx context.Context, s *Store, name string, archive []byte) (storepath.Path, error){
			func(ctx context.Context, s *Store, name string, archive []byte) (storepath.Path, error) {
				info, err := s.AddToStore(ctx, name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(archive), nil)
				if err != nil {
					return "", err
				}
				return info.Path, nil
			},
			func(ctx context.Context, s *Store, name string, archive []byte) (storepath.Path, error) {
				info := infoOf(t, name, archive)
				return info.Path, s.AddToStoreNAR(ctx, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true})
			},
			func(ctx context.Context, s *Store, name string, archive []byte) (storepath.Path, error) {
				info := infoOf(t, name, archive)
				return info.Path, s.AddMultipleToStore(ctx, 1, oneImport(info, archive), &store.AddOptions{NoSignatures: true})
			},
		} {
			all.Go(func() {
				for ; time.Now().Before(deadline) && !t.Failed(); added[i]++ {
					if err := addInSession(t, s, fmt.Sprintf("tree%d-%d", i, added[i]), add); err != nil {
						t.Error(err)
					}
				}
			})
		}
		collections := 0
		for time.Now().Before(deadline) && !t.Failed() {
			runLocal(t, d, "nix-store", "--gc", "--quiet")
			collections++
		}
		all.Wait()
		t.Logf("%v directories were added, %d collections", added, collections)
		if _, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "disappeared") {
			t.Errorf("nix-store --verify: %v\n%s", err, stderr)
		}
	})
}

// infoOf returns the info of an object with this archive that is not content-addressed.
func infoOf(t testing.TB, name string, archive []byte) *store.PathInfo {
	info := &store.PathInfo{NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
	var err error
	if info.Path, err = storepath.DefaultDir.MakePath("test", info.NARHash, name); err != nil {
		t.Error(err)
	}
	return info
}

// addInSession adds an object in its own session, and reads it.
func addInSession(t *testing.T, s *Store, name string, add func(ctx context.Context, s *Store, name string, archive []byte) (storepath.Path, error)) error {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	opened, err := s.Session(ctx)
	if err != nil {
		return err
	}
	defer opened.Close()
	archive := bigTree(name)
	path, err := add(ctx, opened.(*Store), name, archive)
	if err != nil {
		return fmt.Errorf("adding: %w", err)
	}
	r, err := s.NARFromPath(ctx, path)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, archive) {
		err = fmt.Errorf("'%s' has another archive", path)
	}
	return err
}
