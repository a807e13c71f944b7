package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// log builds a derivation, and returns the lines of its log.
func (p *place) log(req *Request) []string {
	p.t.Helper()
	result, events, err := p.build(req)
	if err != nil || !result.Status.Succeeded() {
		p.t.Fatalf("%v, %+v, %q", err, result, linesOf(events))
	}
	return linesOf(events)
}

// withFixedOutput makes the output of a derivation fixed: it must be the file "x\n".
func withFixedOutput(t *testing.T) func(d *derivation.Derivation) {
	return func(d *derivation.Derivation) {
		ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("x\n")))
		if err != nil {
			t.Fatal(err)
		}
		d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
		d.Env.Set("impureEnvVars", "FOO UNSET")
	}
}

// A builder with a fixed output has the network, the files to use it, and the variables that it asks for.
func TestFixedOutputSees(t *testing.T) {
	p := sandboxedPlace(t)
	p.opts.ImpureEnv = func(name string) (string, bool) {
		return map[string]string{"FOO": "foo", "TERM": "mine"}[name], name == "FOO"
	}
	cert := filepath.Join(t.TempDir(), "cert")
	p.write(cert, "certificate\n")
	p.opts.CertFile = cert
	lines := p.log(p.script("fixed", `cat /etc/nsswitch.conf /etc/ssl/certs/ca-certificates.crt; echo $FOO-$UNSET-$NIX_OUTPUT_CHECKED; cat /proc/net/dev | wc -l; echo x > $out`, withFixedOutput(t)))
	host, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"hosts: files dns", "services: files", "certificate", "foo--1", fmt.Sprint(strings.Count(string(host), "\n"))}
	if !slices.Equal(lines, want) {
		t.Errorf("%q, not %q", lines, want)
	}
	lines = p.log(p.script("pure", `ls -1 /etc; cat /etc/hosts; tail -n +3 /proc/net/dev | wc -l; ls -1 / | grep -v lib; echo x > $out`, nil))
	want = []string{"group", "hosts", "passwd", "127.0.0.1 localhost", "::1 localhost", "1", "bin", "build", "dev", "etc", "nix", "proc", "tmp", "usr"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q, not %q", lines, want)
	}
}

// A source in the store brings its closure. An output among them is not shown.
func TestSandboxPathsInStore(t *testing.T) {
	p := sandboxedPlace(t)
	first := p.script("first", "echo > $out", nil)
	p.mustBuild(first)
	second := p.script("second", "echo "+string(outOf(first))+" > $out", func(d *derivation.Derivation) {
		d.InputSources = derivation.SetOf(outOf(first))
	})
	p.mustBuild(second)
	p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: "/extra", Source: string(outOf(second))}, SandboxPath{Target: "/missing", Optional: true})
	lines := p.log(p.script("third", "cat /extra; ls $(dirname $out) | wc -l; test -w /extra || echo not writable; echo > $out", nil))
	if want := []string{string(outOf(first)), "2", "not writable"}; !slices.Equal(lines, want) {
		t.Errorf("%q, not %q", lines, want)
	}
	p.opts.SandboxPaths = append(p.opts.SandboxPaths, SandboxPath{Target: "/missing"})
	_, _, err := p.build(p.script("fourth", "", nil))
	if err == nil || !strings.HasPrefix(err.Error(), `getting attributes of path "/missing": `) {
		t.Error(err)
	}
}

func TestImpureHostDeps(t *testing.T) {
	p := sandboxedPlace(t)
	dir := t.TempDir()
	p.write(filepath.Join(dir, "file"), "text\n")
	p.opts.AllowedImpureHostDeps = []string{dir + "/"}
	asking := func(paths string) func(d *derivation.Derivation) {
		return func(d *derivation.Derivation) { d.Env.Set("__impureHostDeps", paths) }
	}
	lines := p.log(p.script("x", "cat "+dir+"/file; echo > $out", asking(dir+"/file "+dir+"/missing")))
	if !slices.Equal(lines, []string{"text"}) {
		t.Errorf("%q", lines)
	}
	for _, path := range []string{"/etc/shadow", dir + "x", dir + "/../x", "/"} {
		req := p.script("refused", "", asking(path))
		_, _, err := p.build(req)
		if want := fmt.Sprintf("derivation '%s' requested impure path '%s', but it was not in allowed-impure-host-deps", req.Path, path); err == nil || err.Error() != want {
			t.Errorf("%v, not %s", err, want)
		}
	}
}

func TestPreBuildHook(t *testing.T) {
	p := sandboxedPlace(t)
	dir := t.TempDir()
	p.write(filepath.Join(dir, "file"), "text\n")
	hook := filepath.Join(dir, "hook")
	script := func(text string) {
		if err := os.WriteFile(hook, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.opts.PreBuildHook = hook
	script("test -d $2 || exit 1; echo $1 > " + dir + "/drv; printf 'extra-sandbox-paths\\n/extra=" + dir + "/file\\n\\n'")
	req := p.script("x", "cat /extra; echo > $out", nil)
	if lines := p.log(req); !slices.Equal(lines, []string{"text"}) {
		t.Errorf("%q", lines)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "drv")); err != nil || string(text) != string(req.Path)+"\n" {
		t.Errorf("%q, %v", text, err)
	}
	for text, want := range map[string]string{
		"echo nope":          "unknown pre-build hook command 'nope'",
		"exit 3":             fmt.Sprintf("program %q failed with exit code 3", hook),
		"kill -9 $$":         fmt.Sprintf("program %q failed due to signal 9 (Killed)", hook),
		"sleep 100 & exit 3": fmt.Sprintf("program %q failed with exit code 3", hook),
		"yes":                fmt.Sprintf("program %q killed after writing more than 4194304 bytes of output", hook),
		"yes >&2":            fmt.Sprintf("program %q killed after writing more than 4194304 bytes of output", hook),
	} {
		script(text)
		if _, _, err := p.build(p.script("y", "", nil)); err == nil || err.Error() != want {
			t.Errorf("%v, not %s", err, want)
		}
	}
}

func TestSandboxBuildDir(t *testing.T) {
	p := sandboxedPlace(t)
	p.opts.SandboxBuildDir = "/some/dir"
	if lines := p.log(p.script("x", "pwd; echo $TMPDIR; echo > $out", nil)); !slices.Equal(lines, []string{"/some/dir", "/some/dir"}) {
		t.Errorf("%q", lines)
	}
	p.opts.SandboxBuildDir = "/nix"
	if _, _, err := p.build(p.script("y", "", nil)); err == nil || err.Error() != "`sandbox-build-dir` must not contain the storeDir" {
		t.Error(err)
	}
}

func TestSandboxModes(t *testing.T) {
	p := openPlace(t)
	noChroot := func(d *derivation.Derivation) { d.Env.Set("__noChroot", "1") }
	for _, test := range []struct {
		mode      SandboxMode
		change    func(d *derivation.Derivation)
		sandboxed bool
		err       string
	}{
		{SandboxAll, nil, true, ""},
		{SandboxAll, withFixedOutput(t), true, ""},
		{SandboxAll, noChroot, false, "derivation 'DRV' has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'"},
		{SandboxRelaxed, nil, true, ""},
		{SandboxRelaxed, withFixedOutput(t), false, ""},
		{SandboxRelaxed, noChroot, false, ""},
		{SandboxNone, nil, false, ""},
		{SandboxNone, noChroot, false, ""},
	} {
		p.opts.Sandbox = test.mode
		req := p.script("x", "", test.change)
		b, err := newBuild(p.store, &p.opts, req)
		if err != nil {
			t.Fatal(err)
		}
		err = b.decideSandbox()
		if test.err != "" {
			if want := strings.ReplaceAll(test.err, "DRV", string(req.Path)); err == nil || err.Error() != want {
				t.Errorf("%v, not %s", err, want)
			}
			continue
		}
		if err != nil || b.sandboxed != test.sandboxed {
			t.Errorf("%v: sandboxed is %v, %v", test.mode, b.sandboxed, err)
		}
	}
}

// A store elsewhere is built in a sandbox, whatever the options say: the paths of /nix/store are not the machine's.
func TestStoreElsewhere(t *testing.T) {
	p := sandboxedPlace(t)
	p.opts.Sandbox = SandboxNone
	p.mustBuild(p.script("x", "test -d /build && echo > $out", nil))
}

// Where no shell can run in the sandbox, the failure says what to install.
func TestNoShell(t *testing.T) {
	p := sandboxedPlace(t)
	p.opts.SandboxPaths = nil
	result, _, err := p.build(p.script("no-shell", "echo > $out", nil))
	if err != nil {
		t.Fatal(err)
	}
	if result.Status.String() != "MiscFailure" || !strings.Contains(result.Message, "busybox-static") || !strings.Contains(result.Message, "sandbox-paths = /bin/sh=") {
		t.Errorf("status %v, message\n%s", result.Status, result.Message)
	}
}
