package builder

import (
	"os"
	"testing"
)

// The empty directories of a build that has succeeded are left to the caller. The build user is free meanwhile.
func TestRemovalLater(t *testing.T) {
	p := sandboxedPlace(t)
	if os.Geteuid() == 0 {
		p.withUsers(1)
	}
	var removals []func() error
	later := func(remove func() error) { removals = append(removals, remove) }
	for _, test := range []struct {
		name, script string
		later        bool
	}{
		{"empty", "echo > $out", true},
		{"directory as output", "mkdir $out", true},
		{"file in the build directory", "echo > file; echo > $out", false},
		{"directory in the build directory", "mkdir dir; echo > $out", false},
		{"file in tmp", "echo > /tmp/file; echo > $out", false},
		{"file in the store", "echo > $out-other; echo > $out", false},
		{"failure", "exit 1", false},
	} {
		removals = nil
		req := p.script("later", "# "+test.name+"\n"+test.script, nil)
		req.Later = later
		result, err := New(p.store, &p.opts).Build(t.Context(), req)
		if err != nil || result.Status.Succeeded() != (test.name != "failure") {
			t.Fatalf("%s: %+v, %v", test.name, result, err)
		}
		if (len(removals) == 1) != test.later {
			t.Errorf("%s: %d removals are left to the caller", test.name, len(removals))
		}
		// The next build takes the only user, and the directories of both are removed.
		p.opts.PollInterval = 1
		next := p.script("next", "# "+test.name+"\necho > $out", nil)
		if next, err := New(p.store, &p.opts).Build(t.Context(), next); err != nil || !next.Status.Succeeded() {
			t.Errorf("%s: %+v, %v", test.name, next, err)
		}
		for _, remove := range removals {
			if _, err := os.Stat(p.store.ObjectFile(req.Path) + chrootExt); err != nil {
				t.Error("the directories are removed before:", err)
			}
			if err := remove(); err != nil {
				t.Error(err)
			}
		}
		p.checkClean()
	}
}
