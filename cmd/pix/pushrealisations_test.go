package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// addFloating adds a derivation with a floating output, the output, its realisation and its log.
func addFloating(t *testing.T, s *memstore.Store, name string) (drv, out storepath.Path) {
	t.Helper()
	d := &derivation.Derivation{Name: name, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	d.Env.Set("out", "")
	d.Env.Set("name", name) // the hash does not cover the name
	drv, err := store.AddDerivation(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.AddToStore(t.Context(), name, storepath.Flat, nixhash.SHA256, nil, strings.NewReader("output of "+name), nil)
	if err != nil {
		t.Fatal(err)
	}
	info.Deriver = drv
	archive, err := s.NARFromPath(t.Context(), info.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := s.AddToStoreNAR(t.Context(), info, archive, &store.AddOptions{Repair: true}); err != nil {
		t.Fatal(err)
	}
	r := store.KeyedRealisation{ID: store.DrvOutput{Path: drv, Output: "out"}, Realisation: store.Realisation{OutPath: info.Path}}
	if err := store.RegisterRealisation(t.Context(), s, r); err != nil {
		t.Fatal(err)
	}
	if err := s.AddBuildLog(t.Context(), drv, strings.NewReader("log of "+name)); err != nil {
		t.Fatal(err)
	}
	return drv, info.Path
}

// checkFloating checks that a cache has a realisation, and its log if wantLog.
func checkFloating(t *testing.T, cache store.Store, drv, out storepath.Path, wantLog bool) {
	t.Helper()
	r, err := store.QueryRealisation(t.Context(), cache, store.DrvOutput{Path: drv, Output: "out"})
	if err != nil || r.OutPath != out {
		t.Errorf("the realisation is %v, error %v", r, err)
	}
	log, err := store.BuildLog(t.Context(), cache, drv)
	if !wantLog {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the log was pushed: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if text, err := io.ReadAll(log); err != nil || !strings.HasPrefix(string(text), "log of ") {
		t.Errorf("the log is %q, error %v", text, err)
	}
}

// Realisations are pushed from a store that lists them, also if they appear after their paths, and from a daemon, which
// does not list them.
func TestPushRealisations(t *testing.T) {
	for _, from := range []string{"lister", "daemon"} {
		t.Run(from, func(t *testing.T) {
			p, src, dst := newPusher(t, true)
			p.log = src.BuildLog
			if from == "daemon" {
				pool, err := daemon.Open(t.Context(), daemontest.New(t, &daemontest.Options{Store: src}), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				p.src = pool
			}
			drv, out := addFloating(t, src, "first")
			if err := p.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkFloating(t, dst, drv, out, true)
			p.log = nil
			drv, out = addFloating(t, src, "second")
			if err := p.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkFloating(t, dst, drv, out, false)
			if from == "daemon" {
				return
			}
			late := store.KeyedRealisation{ID: store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}, Realisation: store.Realisation{OutPath: out}}
			if err := src.RegisterDrvOutput(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			if err := p.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r, err := dst.QueryRealisation(t.Context(), late.ID); err != nil || r.OutPath != out {
				t.Errorf("a late realisation: %v, %v", r, err)
			}
		})
	}
}

// A realisation that appears later is not pushed if the cache lacks its output, because the first push has only recorded it.
// --all pushes both.
func TestPushLateRealisation(t *testing.T) {
	p, src, dst := newPusher(t, false)
	drv, out := addFloating(t, src, "first")
	late := store.KeyedRealisation{ID: store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, nil), Output: "out"}, Realisation: store.Realisation{OutPath: out}}
	for i := range 3 {
		if i == 1 {
			if err := src.RegisterDrvOutput(t.Context(), late); err != nil {
				t.Fatal(err)
			}
		}
		all := i == 2
		p.all = all
		if err := p.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pushed, err := dst.QueryAllRealisations(t.Context()); err != nil || (len(pushed) > 0) != all {
			t.Errorf("step %d: %v, %v", i, pushed, err)
		}
	}
	checkFloating(t, dst, drv, out, false)
	if r, err := dst.QueryRealisation(t.Context(), late.ID); err != nil || r.OutPath != out {
		t.Errorf("%v, %v", r, err)
	}
}

// A refusingStore does not accept realisations and logs.
type refusingStore struct {
	keptOpen
	status, attempts int
}

func (s *refusingStore) RegisterDrvOutput(context.Context, store.KeyedRealisation) error {
	s.attempts++
	return &binarycache.RequestError{Method: http.MethodPut, Status: s.status, Answer: "no"}
}

func (s *refusingStore) AddBuildLog(context.Context, storepath.Path, io.Reader) error {
	s.attempts++
	return &binarycache.RequestError{Method: http.MethodPut, Status: s.status, Answer: "no"}
}

// A realisation and a log that the cache refuses are reported once, and do not keep their path from being recorded. After
// another failure they are tried again.
func TestPushRefused(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusBadGateway} {
		p, src, dst := newPusher(t, true)
		p.log = src.BuildLog
		to := &refusingStore{keptOpen: keptOpen{dst}, status: status}
		p.open = func(context.Context) (store.Store, error) { return to, nil }
		drv, out := addFloating(t, src, "first")
		if err := p.step(t.Context()); err == nil || !strings.Contains(err.Error(), "no") {
			t.Errorf("%d: the error is %v", status, err)
		}
		before, refused := to.attempts, status == http.StatusForbidden
		if err := p.step(t.Context()); (err == nil) != refused {
			t.Errorf("%d: the second error is %v", status, err)
		}
		if p.state.pushed[out] != refused || (to.attempts == before) != refused {
			t.Errorf("%d: recorded is %v, %d attempts after %d", status, p.state.pushed, to.attempts, before)
		}
		to.status = 0
		p.open = func(context.Context) (store.Store, error) { return keptOpen{dst}, nil }
		if refused {
			p.all = true
			p.refused = nil
		}
		if err := p.step(t.Context()); err != nil {
			t.Error(err)
		}
		checkFloating(t, dst, drv, out, true)
	}
}

// A push copies the realisations that nix copy copies, from the directory of a store. From a daemon, which lists none, it copies
// the ones of resolved derivations. pix copy copies the ones of its arguments; old versions of Nix also copy their inputs'.
func TestRealPushRealisations(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if s.Name == "bullseye" {
			t.Skip("this Nix has no content-addressed derivations")
		}
		d := realnix.Start(t, s, &realnix.Options{Config: map[string]string{"sandbox": "false", "experimental-features": features}})
		const expr = `let make = name: text: derivation {
			inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo ${text} > $out" ];
			__contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
			in make "high" (make "low" "text")`
		drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--expr", expr))
		d.MustRun(t, "nix-store", "--realise", drv)
		d.MustRun(t, "nix", "copy", "--to", "file:///tmp/by-nix", "--impure", "--expr", expr)
		byNix := realisationsIn(t, d.HostPath("/tmp/by-nix"))
		if len(byNix) == 0 {
			t.Fatal("Nix has copied no realisations")
		}
		socket := "unix://" + d.Socket
		for kind, args := range map[string][]string{
			"high low": {"--store", strings.TrimSuffix(d.Dir, "/nix"), "push", "--all"},
			"low":      {"--store", socket, "push", "--all"},
			"high":     {"copy", drv + "^*", "--from", socket, "--to"},
		} {
			cache := t.TempDir()
			env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
			var stderr strings.Builder
			if code := run(append(args, "file://"+cache), nil, io.Discard, &stderr, func(name string) string { return env[name] }); code != 0 {
				t.Fatalf("%s: code %d, %s", kind, code, stderr.String())
			}
			got := realisationsIn(t, cache)
			for id, out := range byNix {
				if _, name, _ := strings.Cut(out.Base(), "-"); strings.Contains(kind, name) && got[id] != out {
					t.Errorf("%s: the output of %s is %q, want %q; pix has copied %v", kind, id, got[id], out, got)
				}
			}
		}
	})
}

// realisationsIn returns the outputs in a cache, by the IDs of Nix up to 2.34.
func realisationsIn(t *testing.T, cache string) map[string]storepath.Path {
	t.Helper()
	s, err := binarycache.Open(t.Context(), "file://"+cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.QueryAllRealisations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	outputs := make(map[string]storepath.Path)
	for _, r := range all {
		if !r.ID.Hash.IsZero() {
			outputs[r.ID.HashID()] = r.OutPath
		}
	}
	return outputs
}
