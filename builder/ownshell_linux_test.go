package builder

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"pix/builder/sandbox"
	"pix/derivation"
)

const shellScript = `umask 022
mkdir -p $out
echo $name > $out/x
case $out in /nix/store/*-with-shell) echo in the store >> $out/x;; esac
(cd $out; echo "$(pwd)" > y; exit 3) || echo $? >> $out/x
cat > $out/z <<EOF
$name $(echo substituted)
EOF
printf '%s\n' a b | while read l; do echo "[$l]" >> $out/x; done
exec cat $out/x
`

// A sandboxed build with pix-sh as /bin/sh has the output and log of one with busybox, and its log says which shell it has.
func TestOwnShell(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err == nil {
		busybox, err = filepath.EvalSymlinks(busybox)
	}
	if err != nil || sandbox.CheckStatic(busybox) != nil {
		t.Skip("this machine has no static busybox, whose cat and mkdir the test needs")
	}
	own := filepath.Join(t.TempDir(), "pix-sh")
	cmd := exec.Command("go", "build", "-o", own, "pix/cmd/pix-sh")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(shell string) (files, lines []string) {
		p := sandboxedPlace(t)
		p.opts.Shell = shell
		p.opts.SandboxPaths = []SandboxPath{{Target: "/tools/cat", Source: busybox}, {Target: "/tools/mkdir", Source: busybox}}
		req := p.script("with-shell", shellScript, func(d *derivation.Derivation) { d.Env.Set("PATH", "/tools") })
		lines = p.log(req)
		out := p.mustBuild(req)
		for _, name := range []string{"x", "y", "z"} {
			b, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Error(err)
			}
			files = append(files, string(b))
		}
		return files, lines
	}
	wantFiles, wantLines := run(busybox)
	files, lines := run(own)
	if !slices.Equal(files, wantFiles) {
		t.Errorf("pix-sh makes %q, and busybox %q", files, wantFiles)
	}
	head := "/bin/sh is pix-sh, since this machine has no static busybox or bash"
	if !slices.Equal(lines, append([]string{head}, wantLines...)) {
		t.Errorf("with pix-sh the log is %q, with busybox %q", lines, wantLines)
	}
}
