package builder

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/store"
)

// Other processes see a build while its process runs, with its phase and its processes.
func TestTracked(t *testing.T) {
	both(t, func(t *testing.T, p *place) {
		req := p.script("tracked", `echo '@nix {"action":"setPhase","phase":"onePhase"}'; echo now; sleep 1; echo x > $out`, nil)
		var during []store.ActiveBuild
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			if line, _ := activity.Line(e); line != "now" {
				return
			}
			var err error
			if during, err = p.store.QueryActiveBuilds(t.Context()); err != nil {
				t.Error(err)
			}
		}))
		result, err := New(p.store, &p.opts).Build(ctx, req)
		if err != nil || !result.Status.Succeeded() {
			t.Fatalf("%+v, %v", result, err)
		}
		if len(during) != 1 {
			t.Fatalf("got %+v", during)
		}
		got := during[0]
		if got.Derivation != req.Path || got.Owner != os.Getpid() || got.Phase != "onePhase" || time.Since(got.Start) > time.Minute {
			t.Errorf("got %+v", got)
		}
		runsScript := func(p store.ActiveProcess) bool {
			return slices.ContainsFunc(p.Args, func(arg string) bool { return strings.Contains(arg, "onePhase") })
		}
		if runtime.GOOS == "linux" && !slices.ContainsFunc(got.Processes, runsScript) {
			t.Errorf("the processes are %+v", got.Processes)
		}
		if after, err := p.store.QueryActiveBuilds(t.Context()); len(after) != 0 || err != nil {
			t.Errorf("after the build: %+v, %v", after, err)
		}
		files, err := os.ReadDir(filepath.Join(p.store.StateDir(), "active-builds"))
		if len(files) != 0 || err != nil {
			t.Errorf("left: %v, %v", files, err)
		}
	})
}
