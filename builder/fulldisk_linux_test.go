package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A fullStore is a store whose disk is full at one call: when an object is placed, before or after that, or when paths are
// registered.
type fullStore struct {
	Store
	at   string
	left int // calls before that
}

func (s *fullStore) full(at string) error {
	if at != s.at {
		return nil
	}
	if s.left--; s.left >= 0 {
		return nil
	}
	return &os.PathError{Op: "write", Path: at, Err: syscall.ENOSPC}
}

func (s *fullStore) AddOutput(ctx context.Context, from string, info *store.PathInfo, replace, optimise bool) error {
	if err := s.full("placing"); err != nil {
		return err
	}
	return errors.Join(s.Store.AddOutput(ctx, from, info, replace, optimise), s.full("placed"))
}

func (s *fullStore) RegisterOutputs(ctx context.Context, infos []*store.PathInfo) error {
	if err := s.full("registering"); err != nil {
		return err
	}
	return s.Store.RegisterOutputs(ctx, infos)
}

func (s *fullStore) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if err := s.full("realising"); err != nil {
		return err
	}
	return s.Store.RegisterDrvOutput(ctx, r)
}

// A disk can become full at each step after the builder has ended. Then nothing of the outputs is left, and the same build
// succeeds when there is space again.
func TestDiskFullAtTheEnd(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.SystemFeatures = []string{"ca-derivations"}
		p.killed = true // lock files of paths may stay
		const text = "echo $dev > $out; echo dev > $dev"
		kinds := map[string]func(name string) *Request{
			"input-addressed": func(name string) *Request { return p.script(name, text, withOutputs("dev")) },
			"fixed": func(name string) *Request {
				return p.script(name, "echo x > $out", withFixedOutput(t))
			},
			"floating": func(name string) *Request {
				return p.script(name, text+"; echo "+name+" >> $dev", func(d *derivation.Derivation) {
					for _, o := range []string{"out", "dev"} {
						d.Outputs.Set(o, derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
						d.Env.Set(o, string(storepath.OwnPlaceholder(o)))
					}
				})
			},
		}
		for kind, request := range kinds {
			for _, at := range []string{"placing", "placed", "registering", "realising"} {
				for left := range 2 {
					name := fmt.Sprintf("%s-%s-%d", kind, at, left)
					req := request(name)
					before := p.objects()
					full := &fullStore{p.store, at, left}
					result, err := New(full, &p.opts).Build(t.Context(), req)
					if full.left >= 0 { // this kind has no such call
						if err != nil || !result.Status.Succeeded() {
							t.Errorf("%s: %+v, %v", name, result, err)
						}
						continue
					}
					if !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("%s: %+v, %v", name, result, err)
					}
					p.checkClean()
					for object := range p.objects() {
						path, err := p.store.Dir().ParseBase(object)
						if err != nil || before[object] {
							continue
						}
						if valid, err := p.store.IsValidPath(t.Context(), path); !valid || err != nil || kind == "input-addressed" {
							t.Errorf("%s: %s is left (valid: %v, %v)", name, object, valid, err)
						}
					}
					if result, _, err := p.build(req); err != nil || result.Status != store.Built {
						t.Errorf("%s, again: %+v, %v", name, result, err)
					}
				}
			}
		}
		p.verify()
	})
}

// objects returns the names in the store directory, except lock files.
func (p *place) objects() map[string]bool {
	p.t.Helper()
	entries, err := os.ReadDir(string(p.store.Info().StoreDir))
	if err != nil {
		p.t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names[e.Name()] = true
		}
	}
	return names
}
