package realise_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pix"
	"pix/localstore"
	"pix/nixconf"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// A fullDisk becomes full at one write of a build, and has space for all earlier ones.
type fullDisk struct {
	mu   sync.Mutex
	left int    // writes before that; negative if the disk does not become full
	at   string // the write that has failed
}

func (d *fullDisk) write(what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		d.left--
	} else if d.left == 0 {
		d.at += what + " "
		return &os.PathError{Op: "write", Path: what, Err: syscall.ENOSPC}
	}
	return nil
}

// become sets after how many writes the disk is full, and returns which writes have failed before.
func (d *fullDisk) become(left int) (failed string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	failed = d.at
	d.left, d.at = left, ""
	return failed
}

// A smallStore is a store on such a disk.
type smallStore struct {
	*localstore.Store
	disk *fullDisk
}

func (s *smallStore) Session(ctx context.Context) (store.Store, error) {
	session, err := s.Store.Session(ctx)
	if err != nil {
		return nil, err
	}
	return &smallStore{session.(*localstore.Store), s.disk}, nil
}

func (s *smallStore) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if err := s.disk.write("text"); err != nil {
		return "", err
	}
	return s.Store.AddTextToStore(ctx, name, contents, references)
}

func (s *smallStore) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := s.disk.write("object"); err != nil {
		return nil, err
	}
	return s.Store.AddToStore(ctx, name, m, a, references, contents, opts)
}

func (s *smallStore) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if err := s.disk.write("archive"); err != nil {
		return err
	}
	return s.Store.AddToStoreNAR(ctx, info, archive, opts)
}

func (s *smallStore) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	if err := s.disk.write("archives"); err != nil {
		return err
	}
	return s.Store.AddMultipleToStore(ctx, n, objects, opts)
}

func (s *smallStore) AddOutput(ctx context.Context, from string, info *store.PathInfo, replace, optimise bool) error {
	if err := s.disk.write("output"); err != nil {
		return err
	}
	return s.Store.AddOutput(ctx, from, info, replace, optimise)
}

func (s *smallStore) RegisterOutputs(ctx context.Context, infos []*store.PathInfo) error {
	if err := s.disk.write("registration"); err != nil {
		return err
	}
	return s.Store.RegisterOutputs(ctx, infos)
}

func (s *smallStore) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if err := s.disk.write("realisation"); err != nil {
		return err
	}
	return s.Store.RegisterDrvOutput(ctx, r)
}

func (s *smallStore) CreateLog(ctx context.Context, drv storepath.Path) (io.WriteCloser, error) {
	if err := s.disk.write("log"); err != nil {
		return nil, err
	}
	return s.Store.CreateLog(ctx, drv)
}

// newSmallStore replaces the store of a recursion by one on a disk that becomes full. With elsewhere, it builds on a machine.
func newSmallStore(t *testing.T, r *recursion, v *victim) *fullDisk {
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: v.Root})
	if err != nil {
		t.Fatal(err)
	}
	disk := &fullDisk{left: -1}
	r.store = realise.New(&smallStore{local, disk}, &realise.Options{
		Settings: func(_ context.Context, s store.Store) (*realise.Settings, error) {
			executor, err := pix.NewBuilder(s, &buildsIn(v.Way, v.Program).Builds.Options)
			settings := &realise.Settings{MaxJobs: 1, Executor: executor, Serve: pix.ServeBuilder, Realisations: true}
			if v.Machine != "" {
				settings.Remote = machineIn(v.Machine)
			}
			return settings, err
		},
		OpenMachine: func(ctx context.Context, m *nixconf.Machine) (store.Store, error) {
			return pix.Open(ctx, m.Store, buildsIn(v.Way, v.Program))
		},
	})
	t.Cleanup(func() { r.store.Close() })
	return disk
}

// The disk can become full at each write of a build of each kind. Then the build fails, nothing of it is left that is not
// valid, and the same build succeeds when there is space again.
func TestDiskFull(t *testing.T) {
	for kind, pathOf := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newRecursion(t, victimWay())
			v := newVictim(t, r, kind)
			disk := newSmallStore(t, r, v)
			steps := 0
			for {
				path := pathOf(r, fmt.Sprintf("/full-%s-%d", kind, steps))
				disk.become(steps)
				out, err := r.try(t.Context(), path)
				failed := disk.become(-1)
				if failed == "" {
					if err != nil {
						t.Fatalf("without a full disk: %v", err)
					}
					break
				}
				if err == nil && !strings.HasPrefix(failed, "log") {
					t.Errorf("the disk was full at %q, and the build succeeded: %s", failed, out)
				}
				checkStray(t, v, r.store)
				if _, err := r.try(t.Context(), path); err != nil {
					t.Fatalf("after a disk that was full at %q: %v", failed, err)
				}
				steps++
			}
			if steps < 3 {
				t.Errorf("only %d writes", steps)
			}
			checkWhole(t, v)
		})
	}
}

// checkStray checks that all objects in the store directory are valid.
func checkStray(t *testing.T, v *victim, s store.Store) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(v.Root, string(storepath.DefaultDir)))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") || e.Name() == ".links" {
			continue
		}
		path, err := s.Dir().ParseBase(e.Name())
		if err != nil {
			t.Error(err)
		} else if valid, err := s.IsValidPath(t.Context(), path); err != nil || !valid {
			t.Errorf("%s is left: %v", e.Name(), err)
		}
	}
}
