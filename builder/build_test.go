package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/derivation"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// A place is a store in which derivations of shell scripts are built with the programs of this machine.
type place struct {
	t         *testing.T
	store     *localstore.Store
	storeOpts localstore.Options
	killed    bool // processes were killed, which leave lock files in the store
	opts      Options
}

// hostPaths are the directories with the programs of this machine.
var hostPaths = []string{"/bin", "/lib", "/lib64", "/usr"}

// sandboxedPlace returns a place whose builds are sandboxed. It skips the test where the machine refuses.
func sandboxedPlace(t *testing.T) *place {
	t.Helper()
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	opts := localstore.Options{Root: t.TempDir()}
	p := &place{t: t, store: openStore(t, opts), storeOpts: opts, opts: Options{AsRoot: true}}
	for _, path := range hostPaths {
		p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: path, Optional: true, ReadOnly: true})
	}
	return p
}

// openPlace returns a place whose builds have no sandbox.
func openPlace(t *testing.T) *place {
	t.Helper()
	if _, err := os.Lstat(homeDir); err == nil {
		t.Skipf("%s exists", homeDir)
	}
	root := t.TempDir()
	dir, err := storepath.ParseDir(filepath.Join(root, "store"))
	if err != nil {
		t.Fatal(err)
	}
	opts := localstore.Options{Dir: dir, StoreDir: string(dir), StateDir: filepath.Join(root, "state"), LogDir: filepath.Join(root, "log")}
	testenv.RemoveStore(t, root)
	return &place{t: t, store: openStore(t, opts), storeOpts: opts, opts: Options{Sandbox: SandboxNone, AsRoot: true}}
}

// both runs a test with and without a sandbox.
func both(t *testing.T, f func(t *testing.T, p *place)) {
	t.Helper()
	t.Run("sandboxed", func(t *testing.T) { f(t, sandboxedPlace(t)) })
	t.Run("open", func(t *testing.T) { f(t, openPlace(t)) })
}

// script returns a derivation that runs a script of the shell, and is in the store.
func (p *place) script(name, script string, change func(d *derivation.Derivation)) *Request {
	p.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: p.store.Dir(), Platform: thisSystem, Builder: "/bin/sh", Args: []string{"-c", script}}
	d.Env.Set("name", name)
	d.Env.Set("PATH", "/usr/bin:/bin")
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	if change != nil {
		change(d)
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		p.t.Fatal(err)
	}
	path, err := p.store.AddTextToStore(p.t.Context(), name+".drv", d.String(), d.References().Slice())
	if err != nil {
		p.t.Fatal(err)
	}
	return &Request{Path: path, Derivation: d}
}

// build builds a derivation, and returns the events.
func (p *place) build(req *Request) (*store.BuildResult, []activity.Event, error) {
	var mu sync.Mutex
	var events []activity.Event
	ctx := activity.WithHandler(p.t.Context(), activity.HandlerFunc(func(e activity.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}))
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	result, err := New(p.store, &p.opts).Build(ctx, req)
	p.checkClean()
	for _, e := range events {
		if log, ok := e.(activity.Log); ok && (strings.HasPrefix(log.Text, "warning: removing") || strings.HasPrefix(log.Text, "warning: cleaning")) {
			p.t.Error(log.Text)
		}
	}
	return result, events, err
}

// mustBuild builds a derivation, and returns the file with an output.
func (p *place) mustBuild(req *Request) string {
	p.t.Helper()
	result, events, err := p.build(req)
	if err != nil || !result.Status.Succeeded() {
		p.t.Fatalf("%v, %+v, %q", err, result, linesOf(events))
	}
	return p.store.ObjectFile(result.Outputs["out"].OutPath)
}

// mustFail builds a derivation that fails, and checks the status and the text, in which OUT stands for the path of the output and DRV
// for the path of the derivation.
func (p *place) mustFail(req *Request, status store.BuildStatus, text string) {
	p.t.Helper()
	result, events, err := p.build(req)
	if err != nil {
		p.t.Errorf("%s: %v, %q", req.Derivation.Name, err, linesOf(events))
		return
	}
	out, _ := req.Derivation.Outputs.Get("out")
	text = strings.NewReplacer("DRV", string(req.Path), "OUT", string(out.Path())).Replace(text)
	if result.Status != status || result.Message != text {
		p.t.Errorf("%s: %v, %q\nwant %v, %q", req.Derivation.Name, result.Status, result.Message, status, text)
	}
}

// checkClean checks that no directory, lock or user of a build is left.
func (p *place) checkClean() {
	p.t.Helper()
	storeDir := filepath.Dir(p.store.ObjectFile(p.anyPath()))
	for _, dir := range []string{storeDir, filepath.Join(p.store.StateDir(), "builds")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			p.t.Error(err)
		}
		for _, e := range entries {
			if p.killed && strings.HasSuffix(e.Name(), ".lock") {
				// A mark without text may belong to a process that is about to write it, and stays for a minute.
				if info, err := e.Info(); dir == storeDir || err == nil && info.Size() == 0 {
					continue
				}
			}
			if strings.HasSuffix(e.Name(), chrootExt) || strings.HasSuffix(e.Name(), ".lock") || strings.HasPrefix(e.Name(), "nix-") {
				p.t.Errorf("%s is left in %s", e.Name(), dir)
			}
		}
	}
}

func TestBuild(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		req := p.script("ok", "echo hello; echo world > $out", nil)
		result, events, err := p.build(req)
		if err != nil || result.Status != store.Built || result.TimesBuilt != 1 {
			t.Fatalf("%+v, %v", result, err)
		}
		if lines := linesOf(events); len(lines) != 1 || lines[0] != "hello" {
			t.Errorf("the log is %q", lines)
		}
		text, err := os.ReadFile(p.store.ObjectFile(result.Outputs["out"].OutPath))
		if err != nil || string(text) != "world\n" {
			t.Errorf("%q, %v", text, err)
		}
		result, _, err = p.build(req)
		if err != nil || result.Status != store.AlreadyValid || result.Outputs["out"].OutPath == "" {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

func TestFailures(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		const cannot = "Cannot build 'DRV'.\nReason: builder "
		const outputs = ".\nOutput paths:\n  OUT"
		const logs = "\nFor full logs, run:\n  nix log DRV"
		p.mustFail(p.script("fail", "echo line1; echo line2; exit 7", nil), store.PermanentFailure,
			cannot+"failed with exit code 7"+outputs+"\nLast 2 log lines:\n> line1\n> line2"+logs)
		p.mustFail(p.script("exit255", "exit 255", nil), store.PermanentFailure, cannot+"failed with exit code 255"+outputs)
		p.mustFail(p.script("emptylast", "echo a; echo; exit 2", nil), store.PermanentFailure,
			cannot+"failed with exit code 2"+outputs+"\nLast 2 log lines:\n> a\n> "+logs)
		var lines strings.Builder
		for i := 15; i < 40; i++ {
			fmt.Fprintf(&lines, "\n> line %d", i)
		}
		p.mustFail(p.script("longlog", "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; exit 1", nil), store.PermanentFailure,
			cannot+"failed with exit code 1"+outputs+"\nLast 25 log lines:"+lines.String()+logs)
		p.mustFail(p.script("utf8", `printf 'caf\303\251 \377 bad\n'; exit 1`, nil), store.PermanentFailure,
			cannot+"failed with exit code 1"+outputs+"\nLast 1 log lines:\n> caf\303\251 \xff bad"+logs)
		p.mustFail(p.script("noexec", "", func(d *derivation.Derivation) { d.Builder = "/nope" }), store.PermanentFailure,
			cannot+"failed with exit code 1"+outputs+"\nLast 1 log lines:\n> error: executing '/nope': No such file or directory"+logs)
		p.mustFail(p.script("badbuiltin", "", func(d *derivation.Derivation) { d.Builder, d.Platform = "builtin:nope", "builtin" }), store.PermanentFailure,
			cannot+"failed with exit code 1"+outputs+"\nLast 1 log lines:\n> error: unsupported builtin builder 'nope'"+logs)
	})
}

// anyPath returns a path of the store.
func (p *place) anyPath() storepath.Path {
	path, err := p.store.Dir().ParseBase("00000000000000000000000000000000-x")
	if err != nil {
		p.t.Fatal(err)
	}
	return path
}

// A check needs outputs that are valid.
func TestCheckNeedsOutputs(t *testing.T) {
	p := openPlace(t)
	req := p.script("missing", "echo > $out", nil)
	req.Mode = store.BuildCheck
	_, _, err := p.build(req)
	if want := fmt.Sprintf("some outputs of '%s' are not valid, so checking is not possible\nHint: ", req.Path); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
}
