package builder

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"testing"

	"pix/store"
)

// What a failed build leaves has no setuid and setgid files of the build user: any user could become the build user with them.
func TestKeptFilesAreNotSetID(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("there is no perl, which can create a file with any mode")
	}
	const create = `perl -e 'use Fcntl; umask 0; for (@ARGV) { sysopen(F, $_, O_CREAT|O_WRONLY, 06755) or die $! }' `
	check := func(t *testing.T, p *place) {
		p.opts.KeepFailed = true
		if p.opts.BuildDir == "" {
			p.opts.BuildDir = filepath.Join(t.TempDir(), "kept")
		}
		req := p.script("setid", "mkdir -p sub $out; "+create+"file sub/file $out/file; test -u file && test -g file || exit 2; exit 1", nil)
		if result, events, err := p.build(req); err != nil || result.Status != store.PermanentFailure || result.Message[len("Cannot build ''.\nReason: builder failed with exit code ")+len(req.Path)] != '1' {
			t.Fatalf("%+v, %v, %q", result, err, linesOf(events))
		}
		found := 0
		err := filepath.WalkDir(p.opts.BuildDir, func(name string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%s has the mode %v", name, info.Mode())
			}
			if e.Name() == "file" {
				found++
			}
			return nil
		})
		if want := 2 + len(p.opts.SandboxPaths)/len(hostPaths); err != nil || found != want { // without a sandbox, the output is removed
			t.Errorf("%d files are kept, not %d: %v", found, want, err)
		}
	}
	t.Run("user", func(t *testing.T) { check(t, sandboxedPlace(t)) })
	both(t, func(t *testing.T, p *place) {
		p.withUsers(1)
		check(t, p)
	})
}
