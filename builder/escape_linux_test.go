package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix/derivation"
)

// A builder with a range of users owns the root of its sandbox. It can replace the directories above its outputs with symlinks that
// lead to files of the machine. These are neither taken for outputs nor kept as such.
func TestRootOfSandboxIsReplaced(t *testing.T) {
	p := sandboxedPlace(t)
	p.withUsers(1)
	p.opts.AutoAllocateUIDs, p.opts.StartID = true, uint32(automaticUsers)
	p.opts.SystemFeatures = []string{"uid-range"}
	for _, exit := range []int{0, 1} {
		for _, keep := range []bool{false, true} {
			canary, err := os.MkdirTemp("/var/lib", "pix-test-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(canary) })
			p.opts.KeepFailed = keep
			script := fmt.Sprintf("echo x > $out; mv /nix /nix2 && ln -s %s /nix && echo replaced; exit %d", canary, exit)
			req := p.script(fmt.Sprintf("escape%d%v", exit, keep), script, func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "uid-range") })
			file := filepath.Join(canary, "store", outOf(req).Base())
			writeFile(t, file, "canary\n", 0o644)
			result, events, err := p.build(req)
			if err == nil && result.Status.Succeeded() {
				t.Errorf("%+v", result)
			}
			if lines := linesOf(events); len(lines) == 0 || lines[0] != "replaced" {
				t.Errorf("the builder could not replace its root: %q, %+v, %v", lines, result, err)
			}
			if text, err := os.ReadFile(file); err != nil || string(text) != "canary\n" {
				t.Errorf("exit %d, keep %v: %q, %v", exit, keep, text, err)
			}
		}
	}
}

// The mark of a build without a sandbox names all its outputs, however many.
func TestMarkOfManyOutputs(t *testing.T) {
	p := openPlace(t)
	req := p.script("many", "", func(d *derivation.Derivation) {
		for i := range 500 {
			d.Outputs.Set(fmt.Sprint("output", i), derivation.DeferredOutput())
			d.Env.Set(fmt.Sprint("output", i), "")
		}
	})
	b, err := newBuild(p.store, &p.opts, req)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.assignScratch(); err != nil {
		t.Fatal(err)
	}
	dir, err := b.makeBuildDir()
	if err != nil {
		t.Fatal(err)
	}
	last := p.store.ObjectFile(b.outputs[len(b.outputs)-1].scratch)
	writeFile(t, last, "partial", 0o644)
	if err := dir.mark.close(); err != nil { // as if this process were killed
		t.Fatal(err)
	}
	if _, err := b.removeDead(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{last, dir.top, dir.top + markExt} {
		if _, err := os.Lstat(name); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
