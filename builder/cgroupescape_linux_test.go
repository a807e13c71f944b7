package builder

import (
	"os/exec"
	"slices"
	"testing"

	"pix/derivation"
)

// A builder that runs as the user of this process cannot mount the cgroup that both are in, with which it could freeze or kill this
// process. User namespaces of its own still work. A builder with its own cgroup may mount that.
func TestCgroupOfCallerIsHidden(t *testing.T) {
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skipf("the builder of this test needs unshare: %v", err)
	}
	const script = `mkdir /tmp/c; unshare -rm sh -c 'echo nested'; unshare -rCm sh -c 'if mount -t cgroup2 none /tmp/c; then echo mounted; fi' 2>/dev/null; echo > $out`
	p := sandboxedPlace(t)
	if lines := p.log(p.script("hidden", script, nil)); !slices.Equal(lines, []string{"nested"}) {
		t.Errorf("%q", lines)
	}
	p.withUsers(1)
	if ownCgroup() == "" {
		t.Skip("this machine has no cgroups of version 2")
	}
	p.opts.AutoAllocateUIDs, p.opts.StartID = true, uint32(automaticUsers)
	p.opts.SystemFeatures = []string{"uid-range"}
	lines := p.log(p.script("own", script, func(d *derivation.Derivation) { d.Env.Set("requiredSystemFeatures", "uid-range") }))
	if !slices.Equal(lines, []string{"nested", "mounted"}) {
		t.Errorf("%q", lines)
	}
}
