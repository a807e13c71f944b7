package builder

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// dumpScript prints the environment, the arguments and the files of a builder in base 64, and makes its output.
const dumpScript = `PATH=/usr/bin:/bin; out=${1:-$out}; for f in /proc/$$/environ /proc/$$/cmdline .attr* [a-z]*; do if [ -f $f ]; then echo "dump $(basename $f) $(base64 -w0 < $f)"; fi; done; echo x > $out`

// dumpExpression evaluates to derivations whose builders print what they are given.
const dumpExpression = `
let
  script = ''` + "@SCRIPT@" + `'';
  drv = attrs: derivation ({ system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script "sh" (placeholder "out") ]; PATH = "/usr/bin:/bin"; } // attrs);
  dep = derivation { name = "dep"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; };
  top = derivation { name = "top"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $dep $out > $out" ]; inherit dep; };
  text = builtins.toFile "text" "some text";
in {
  inherit top;
  plain = drv { name = "plain"; passAsFile = [ "big" "empty" ]; big = "BIG ${placeholder "out"}"; empty = ""; HOME = "/myhome"; TMPDIR = "/mytmp"; NIX_BUILD_CORES = "77"; NIX_STORE = "/st"; NIX_LOG_FD = "5";
    lines = "a\nb\t'\"$"; "odd name" = "1"; bigPath = "mine"; inherit dep; };
  graph = drv { name = "graph"; exportReferencesGraph = [ "g" top "h" text ]; };
  drvs = drv { name = "drvs"; exportReferencesGraph = [ "g" (builtins.storePath (builtins.unsafeDiscardStringContext top.drvPath)) ]; };
  fixed = drv { name = "fixed"; outputHash = "sha256-c8tfT1K4xHgJNJhK5ARbS5H6PW5Y/kJ5K8uZ4y1ZZ4A="; impureEnvVars = [ "FOO" "BAR" "TERM" ]; FOO = "mine"; };
  floating = drv { name = "floating"; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; out2 = placeholder "out"; };
  structured = drv { name = "structured"; __structuredAttrs = true; outputs = [ "out" ];
    string = "it's\n\"q\" \\ é ${placeholder "out"}"; int = 5; negative = -7; large = 123456789012; float = 1.5; integral = 2.0; small = 0.0001; big = 1.0e10; yes = true; no = false; nothing = null;
    list = [ 1 "two" null true ]; bad = [ 1 [ 2 ] ]; empty = [ ]; attrs = { a = 1; "b c" = "it's"; }; badAttrs = { a = { b = 1; }; }; noAttrs = { };
    "a-b" = 1; "1a" = 1; _under = 1; UPPER = "x"; large53 = 9007199254740993; fraction = [ 1.25 ];
    exportReferencesGraph.g = [ top ]; exportReferencesGraph.f = [ top [ dep text ] ]; };
}`

// What builders of Nix 2.34 are given is what builders of pix are given, byte for byte.
func TestRealEnvironment(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{
		Config: map[string]string{"experimental-features": "nix-command ca-derivations", "sandbox": "false", "cores": "3", "build-users-group": "", "substituters": ""},
		Env:    []string{"FOO=foo of the daemon"},
	})
	expression := strings.Replace(dumpExpression, "@SCRIPT@", strings.ReplaceAll(dumpScript, "${", "''${"), 1)
	if err := os.WriteFile(d.HostPath("/tmp/dump.nix"), []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "graph", "drvs", "fixed", "floating", "structured"} {
		t.Run(name, func(t *testing.T) {
			d.MustRun(t, "nix-build", "--no-out-link", "/tmp/dump.nix", "-A", "top")
			drv, err := storepath.DefaultDir.Parse(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/dump.nix", "-A", name)))
			if err != nil {
				t.Fatal(err)
			}
			stdout, stderr, err := d.Run("nix-store", "--realise", string(drv))
			if name != "fixed" && err != nil {
				t.Fatal(stdout, stderr)
			}
			compareDump(t, d, drv, parseDump(t, stderr))
		})
	}
}

// parseDump returns the files that a builder has printed.
func parseDump(t *testing.T, log string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for line := range strings.Lines(log) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), " "); len(fields) == 3 && fields[0] == "dump" {
			text, err := base64.StdEncoding.DecodeString(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			files[fields[1]] = text
		}
	}
	return files
}

// compareDump compares what a real builder was given with what pix gives it.
func compareDump(t *testing.T, d *realnix.Daemon, drv storepath.Path, want map[string][]byte) {
	t.Helper()
	s := openStore(t, localstore.Options{Root: d.HostPath("/"), ReadOnly: true})
	text, err := os.ReadFile(s.ObjectFile(drv))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := derivation.ParseAt(drv, string(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuild(s, &Options{Cores: 3, ImpureEnv: func(name string) (string, bool) {
		return map[string]string{"FOO": "foo of the daemon"}[name], true
	}}, &Request{Path: drv, Derivation: parsed, Inputs: realInputs(t, d, parsed)})
	if err != nil {
		t.Fatal(err)
	}
	b.handler = activity.HandlerFunc(func(activity.Event) {})
	b.dir = &buildDir{path: buildTop(want)}
	for _, step := range []func() error{
		func() error { return b.findClosure(t.Context()) },
		func() error { return b.assignScratch() },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := b.contentFor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{
		"environ": []byte(strings.Join(b.environment(c), "\x00") + "\x00"),
		"cmdline": []byte(strings.Join(b.arguments(), "\x00") + "\x00"),
	}
	for name, text := range c.files {
		got[name] = []byte(b.rewrites.apply(text))
	}
	for _, name := range slices.Concat(sortedKeys(got), sortedKeys(want)) {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s:\npix: %q\nNix: %q", name, got[name], want[name])
		}
	}
	if len(got) < 2 {
		t.Error("nothing was compared")
	}
}

// realInputs returns the outputs of the inputs of a derivation.
func realInputs(t *testing.T, d *realnix.Daemon, parsed *derivation.Derivation) map[storepath.Path]map[string]storepath.Path {
	t.Helper()
	inputs := map[storepath.Path]map[string]storepath.Path{}
	for input, used := range parsed.InputDerivations.All() {
		inputs[input] = map[string]storepath.Path{}
		for name := range used.Names.All() {
			out := strings.TrimSpace(d.MustRun(t, "nix-store", "--query", "--binding", name, string(input)))
			path, err := storepath.DefaultDir.Parse(out)
			if err != nil {
				t.Fatal(err)
			}
			inputs[input][name] = path
		}
	}
	return inputs
}

// buildTop returns the build directory that a builder was given.
func buildTop(files map[string][]byte) string {
	for _, v := range bytes.Split(files["environ"], []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte("NIX_BUILD_TOP=")); ok {
			return filepath.Clean(string(value))
		}
	}
	return ""
}

var _ = store.Built
