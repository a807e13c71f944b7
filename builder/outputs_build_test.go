package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// withOutputs gives a derivation these outputs.
func withOutputs(names ...string) func(d *derivation.Derivation) {
	return func(d *derivation.Derivation) {
		for _, name := range names {
			d.Outputs.Set(name, derivation.DeferredOutput())
			d.Env.Set(name, "")
		}
	}
}

// verify checks the whole store.
func (p *place) verify() {
	p.t.Helper()
	if remain, err := p.store.VerifyStore(p.t.Context(), true, false); remain || err != nil {
		p.t.Errorf("the store is damaged: %v", err)
	}
}

// stray lists the files in the store directory that are no objects of valid paths.
func (p *place) stray() (names []string) {
	p.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(p.store.ObjectFile(p.anyPath())))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		path, err := p.store.Dir().ParseBase(e.Name())
		if err != nil {
			if e.Name() != ".links" {
				names = append(names, e.Name())
			}
			continue
		}
		if valid, err := p.store.IsValidPath(p.t.Context(), path); err != nil || !valid {
			names = append(names, e.Name())
		}
	}
	return names
}

// Each output of a derivation can be deleted and made again, while the others stay as they are.
func TestDeletedOutputs(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		// lib refers to nothing, dev to lib, and out to all of them.
		req := p.script("multi", "echo lib > $lib; mkdir $dev; echo $lib > $dev/f; echo $out $dev $lib > $out", withOutputs("dev", "lib"))
		first, _, err := p.build(req)
		if err != nil || first.Status != store.Built || len(first.Outputs) != 3 {
			t.Fatalf("%+v, %v", first, err)
		}
		for _, deleted := range [][]string{{"out"}, {"out", "dev"}, {"out", "dev", "lib"}} {
			// The store keeps everything that this process has made, as long as it is open.
			session := openAgain(t, p)
			var paths []storepath.Path
			for _, name := range deleted {
				paths = append(paths, first.Outputs[name].OutPath)
			}
			if _, err := session.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: paths, MaxFreed: 1 << 60}); err != nil {
				t.Fatal(err)
			}
			p.store = session
			result, _, err := p.build(req)
			if err != nil || result.Status != store.Built || len(result.Outputs) != 3 {
				t.Fatalf("without %q: %+v, %v", deleted, result, err)
			}
			for name, r := range first.Outputs {
				if result.Outputs[name].OutPath != r.OutPath {
					t.Errorf("%s has the path %s", name, result.Outputs[name].OutPath)
				}
			}
			p.verify()
			if names := p.stray(); names != nil {
				t.Errorf("left: %q", names)
			}
		}
		req.Mode = store.BuildCheck
		if result, _, err := p.build(req); err != nil || result.Status != store.Built {
			t.Errorf("check: %+v, %v", result, err)
		}
		p.verify()
		if names := p.stray(); names != nil {
			t.Errorf("left: %q", names)
		}
	})
}

// Builds that fail or are cancelled leave the outputs alone that are valid.
func TestFailedRebuilds(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		control := t.TempDir()
		if err := os.Chmod(control, 0o755); err != nil {
			t.Fatal(err)
		}
		p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: control, ReadOnly: true})
		mode := func(text string) { writeFile(t, control+"/mode", text, 0o644) }
		req := p.script("rebuilt", "echo $out > $out; echo $out > $dev; . "+control+"/mode; echo $dev > $lib", withOutputs("dev", "lib"))
		mode("")
		result, _, err := p.build(req)
		if err != nil || result.Status != store.Built {
			t.Fatalf("%+v, %v", result, err)
		}
		lib := result.Outputs["lib"].OutPath
		p.store = openAgain(t, p)
		if _, err := p.store.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{lib}, MaxFreed: 1 << 60}); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"exit 1", "mkfifo $lib; exit 0", "sleep 60", "rm -r $out"} {
			mode(text)
			ctx, cancel := context.WithCancel(t.Context())
			if text == "sleep 60" {
				ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
			}
			result, err := New(p.store, &p.opts).Build(ctx, req)
			cancel()
			if text == "rm -r $out" { // which is valid, and not made again
				if err != nil || result.Status != store.Built {
					t.Errorf("%s: %+v, %v", text, result, err)
				}
				break
			}
			if err == nil && result.Status.Succeeded() || text == "sleep 60" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %+v, %v", text, result, err)
			}
			for name, r := range map[string]bool{"out": true, "dev": true, "lib": false} {
				o, _ := req.Derivation.Outputs.Get(name)
				if valid, err := p.store.IsValidPath(t.Context(), o.Path()); valid != r || err != nil {
					t.Errorf("after %s: %s is valid: %v, %v", text, name, valid, err)
				}
			}
			p.verify()
			p.checkClean()
			if names := p.stray(); names != nil {
				t.Errorf("after %s, left: %q", text, names)
			}
		}
		mode("")
		if result, _, err := p.build(req); err != nil || !result.Status.Succeeded() {
			t.Errorf("%+v, %v", result, err)
		}
		p.verify()
	})
}

// A check finds differences, and leaves nothing in the store but what it was told to keep.
func TestCheckBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		req := p.script("nd", "echo building out=$out; date +%N > $out; head -c 20 /dev/urandom >> $out", nil)
		file := p.mustBuild(req)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		req.Mode = store.BuildCheck
		prefix := fmt.Sprintf("derivation '%s' may not be deterministic: output \"%s\" differs", req.Path, file)
		p.mustFail(req, store.NotDeterministic, prefix)
		if names := p.stray(); names != nil {
			t.Errorf("left: %q", names)
		}
		hook := filepath.Join(t.TempDir(), "hook")
		writeFile(t, hook, "#!/bin/sh\ntest -d \"$4\" && cat \"$2\" >/dev/null && echo \"$1 $2 $3\"", 0o755)
		p.opts.DiffHook = hook
		result, events, err := p.build(req)
		if err != nil || result.Status != store.NotDeterministic || !result.NonDeterministic || result.Message != prefix+" from \""+file+".check\"" {
			t.Errorf("%+v, %v", result, err)
		}
		out, _ := req.Derivation.Outputs.Get("out")
		if want := fmt.Sprintf("%s %s.check %s", out.Path(), file, req.Path); !slices.Contains(messagesOf(events), want) {
			t.Errorf("the hook did not print %q: %q", want, messagesOf(events))
		}
		if names := p.stray(); !slices.Equal(names, []string{filepath.Base(file) + ".check"}) {
			t.Errorf("left: %q", names)
		}
		if now, err := os.ReadFile(file); string(now) != string(text) || err != nil {
			t.Errorf("the valid output has changed, %v", err)
		}
		p.verify()
	})
}

// A repair makes a damaged output again.
func TestRepairBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		req := p.script("repaired", "echo $out > $out", nil)
		file := p.mustBuild(req)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, []byte("damaged"), 0o644), os.Chmod(file, 0o444)); err != nil {
			t.Fatal(err)
		}
		req.Mode = store.BuildRepair
		if got, err := os.ReadFile(p.mustBuild(req)); string(got) != string(text) || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		p.verify()
		if names := p.stray(); names != nil {
			t.Errorf("left: %q", names)
		}
	})
}

// What a builder leaves behind that is no output never gets into the store, nor do the outputs of failed builds.
func TestJunk(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.mustBuild(p.script("suid", "mkdir $out; cp /bin/true $out/t; chmod 4755 $out/t; ln $out/t $out/u; chmod 0777 $out/t; mkdir -m 0500 $out/d; chmod 0100 $out", nil))
		p.mustFail(p.script("failed", "echo > $out; exit 1", nil), store.PermanentFailure,
			"Cannot build 'DRV'.\nReason: builder failed with exit code 1.\nOutput paths:\n  OUT")
		result, _, err := p.build(p.script("fifo", "mkdir $out; mkfifo $out/f", nil))
		if err != nil || result.Status != store.OutputRejected || !strings.HasSuffix(result.Message, "/f\" has an unsupported type") {
			t.Errorf("%+v, %v", result, err)
		}
		if p.opts.Sandbox == SandboxAll {
			p.mustBuild(p.script("junk", "echo hi > $out; echo junk > ${out%/*}/junkfile; echo j > ${out%/*}/00000000000000000000000000000000-junk; echo x > $out.tmp", nil))
		}
		p.verify()
		if names := p.stray(); names != nil {
			t.Errorf("left: %q", names)
		}
	})
}

// Content-addressed outputs are built under scratch paths, which the builder may surround with files of any name.
func TestFloatingBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.SystemFeatures = []string{"ca-derivations"}
		req := p.script("tmpname2", "echo hi $out > $out; mkdir $out.tmp; echo evil > $out.tmp/x", func(d *derivation.Derivation) {
			d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
			d.Env.Set("out", string(storepath.OwnPlaceholder("out")))
		})
		file := p.mustBuild(req)
		if text, err := os.ReadFile(file); err != nil || string(text) != fmt.Sprintf("hi %s/%s\n", p.store.Dir(), filepath.Base(file)) {
			t.Errorf("%q, %v", text, err)
		}
		p.verify()
	})
}

// Identical files of outputs become one on demand.
func TestOptimisedBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		p.opts.AutoOptimise = true
		first := p.mustBuild(p.script("first", "mkdir $out; echo same > $out/a; echo same > $out/b", nil))
		second := p.mustBuild(p.script("second", "echo same > $out", nil))
		var files []os.FileInfo
		for _, name := range []string{first + "/a", first + "/b", second} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, info)
		}
		if !os.SameFile(files[0], files[1]) || !os.SameFile(files[0], files[2]) {
			t.Error("they are several files")
		}
		p.verify()
	})
}

// A fixed output with another hash becomes valid under its own path, and is not built again when the hash is right.
func TestFixedBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		request := func(hash nixhash.Hash) *Request {
			ca, err := storepath.NewContentAddress(storepath.Flat, hash)
			if err != nil {
				t.Fatal(err)
			}
			return p.script("fod", "echo hi > $out", func(d *derivation.Derivation) {
				d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
			})
		}
		zero, right := zeroHash(t, nixhash.SHA256), nixhash.Sum(nixhash.SHA256, []byte("hi\n"))
		p.mustFail(request(zero), store.OutputRejected, fmt.Sprintf("hash mismatch in fixed-output derivation 'DRV':\n  specified: %s\n     got:    %s", zero.SRI(), right.SRI()))
		if result, _, err := p.build(request(right)); err != nil || result.Status != store.AlreadyValid {
			t.Errorf("%+v, %v", result, err)
		}
		p.verify()
		if names := p.stray(); names != nil {
			t.Errorf("left: %q", names)
		}
	})
}

// messagesOf returns the lines for people among events.
func messagesOf(events []activity.Event) (lines []string) {
	for _, e := range events {
		if log, ok := e.(activity.Log); ok {
			lines = append(lines, log.Text)
		}
	}
	return lines
}

// dumped returns the archive of a file or directory.
func dumped(t *testing.T, file string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := nar.Dump(t.Context(), &b, file, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// openAgain closes the store of a place, which ends its temporary roots, and opens it again.
func openAgain(t *testing.T, p *place) *localstore.Store {
	t.Helper()
	opts := localstore.Options{Dir: p.store.Dir(), StoreDir: filepath.Dir(p.store.ObjectFile(p.anyPath())), StateDir: p.store.StateDir(), LogDir: filepath.Join(t.TempDir(), "log")}
	s, err := localstore.Open(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
