package pixpkgs_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/pixpkgs"
	"pix/store"
	"pix/storepath"
)

// evaluate evaluates an expression with Nix and decodes its JSON.
func evaluate(t *testing.T, d *realnix.Daemon, expression string, v any) {
	t.Helper()
	if err := os.WriteFile(d.HostPath("/tmp/x.nix"), []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	out := d.MustRun(t, "nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", "/tmp/x.nix")
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatal(err)
	}
}

// Overlays result in the same paths as in Nix.
func TestOverlaysAsNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "bookworm"), nil)
	var want map[string]map[string]string
	evaluate(t, d, inNix, &want)
	for name, got := range map[string]map[string]string{
		"plain": drvPaths(t, fix(t, new(count))),
		"one":   drvPaths(t, fix(t, new(count), one)),
		"both":  drvPaths(t, fix(t, new(count), one, two)),
	} {
		for pkg, path := range got {
			if want[name][pkg] != path {
				t.Errorf("%s.%s is %s, but %s in Nix", name, pkg, path, want[name][pkg])
			}
		}
	}
}

// versions is a closure whose leaf has a version. The packages mention each other in all possible ways.
const versions = `let
  at = version: let
    mk = attrs: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attrs);
    leaf = mk { name = "leaf-${version}"; inherit version; outputs = [ "out" "dev" ]; };
    aside = mk { name = "aside"; };
    source = builtins.toFile "source" "text";
    fixed = mk { name = "fixed"; outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; inherit leaf; };
    plain = mk { name = "plain"; args = [ "-I${leaf.dev}/include" source ]; both = "${leaf}:${leaf.dev}"; inherit aside; };
    structured = mk { name = "structured"; __structuredAttrs = true; deep.list = [ plain leaf.dev 1.5 ]; };
    floating = mk { name = "floating"; __contentAddressed = true; src = plain; };
    deferred = mk { name = "deferred"; from = "${floating}/x"; inherit structured; };
    mentions = mk { name = "mentions"; text = builtins.unsafeDiscardStringContext "${leaf}"; inherit plain; drv = builtins.unsafeDiscardOutputDependency leaf.drvPath; };
    impure = mk { name = "impure"; __impure = true; inherit leaf; };
    made = mk { name = "made.drv"; __contentAddressed = true; outputHashMode = "text"; inherit leaf; };
    dynamic = mk { name = "dynamic"; args = [ "${builtins.outputOf made.outPath "out"}/bin" (builtins.outputOf (builtins.outputOf made.outPath "out") "dev") impure ]; };
    top = mk { name = "top"; builder = "${mentions}/bin/x"; all = [ fixed deferred dynamic ]; };
  in { inherit leaf aside fixed plain structured floating deferred mentions impure made dynamic top; };
in builtins.mapAttrs (_: version: builtins.mapAttrs (_: p: p.drvPath) (at version)) { one = "1"; two = "2"; }
`

// Overriding a leaf of a closure that Nix wrote results in the same paths as in Nix, and does not derive
// other packages again.
func TestReplaceAsNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations dynamic-derivations impure-derivations"}})
	var want map[string]map[string]storepath.Path
	evaluate(t, d, versions, &want)
	c, err := derivation.LoadClosure(t.Context(), derivation.Directory(d.HostPath("/nix/store")), []storepath.Path{want["one"]["top"]}, nil)
	if err != nil {
		t.Fatal(err)
	}
	packages, err := pixpkgs.FromDerivations(c)
	if err != nil {
		t.Fatal(err)
	}
	leaf, top := packages[want["one"]["leaf"]], packages[want["one"]["top"]]
	changed, err := leaf.Override(func(s *pixpkgs.Spec) {
		s.Name, s.Env["version"] = "leaf-2", "2"
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range want["one"] {
		after, err := packages[path].Replace(leaf, changed)
		if err != nil {
			t.Fatal(err)
		}
		if after.DrvPath() != want["two"][name] {
			t.Errorf("%s is %s, but %s in Nix\n%s", name, after.DrvPath(), want["two"][name], after.Derivation())
		}
		if same := after == packages[path]; same != (name == "aside") {
			t.Errorf("%s is the same package: %v", name, same)
		}
	}
	back, err := top.Replace(leaf, leaf)
	if err != nil || back != top {
		t.Errorf("replacing a package by itself: %v, %v", back, err)
	}
}

// dial connects to a daemon with a pool, which has sessions.
func dial(t *testing.T, d *realnix.Daemon) store.Store {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func readOutput(t *testing.T, d *realnix.Daemon, path storepath.Path, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{d.HostPath(string(path))}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// All daemons build a few packages that depend on each other, with sources of all kinds.
func TestRealize(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dial(t, d)
		script := text(t, "greet.sh", pixpkgs.Sprintf("cat %s\n", text(t, "words", "hello\n")))
		tree, err := pixpkgs.SourceFS(t.Context(), fstest.MapFS{"a/b": {Data: []byte("b\n")}, "c": {Data: []byte("c\n")}}, ".", &pixpkgs.SourceOptions{Name: "tree"})
		if err != nil {
			t.Fatal(err)
		}
		flat, err := pixpkgs.SourceFS(t.Context(), fstest.MapFS{"flat": {Data: []byte("flat\n"), Mode: 0o755}}, "flat", &pixpkgs.SourceOptions{Flat: true})
		if err != nil {
			t.Fatal(err)
		}
		below := mk(t, spec{Name: "below", Outputs: []string{"out", "log"}, Args: list{"-e", "-c", pixpkgs.Sprintf(`PATH=/bin:/usr/bin; echo building; sh %s > $out; echo done > $log`, script)}})
		above := mk(t, spec{Name: "above", Args: list{"-e", "-c", pixpkgs.Sprintf("PATH=/bin:/usr/bin; cat %s %s %s %s > $out", below, tree.Path("a/b"), flat, below.Out("log"))}})

		var lines []string
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			if line, ok := activity.Line(e); ok {
				lines = append(lines, line)
			}
		}))
		for range 2 { // the second time everything exists
			built, err := pixpkgs.Realize(ctx, c, above, below)
			if err != nil {
				t.Fatal(err)
			}
			if len(built) != 2 || built[0].Package != above || built[1].Package != below {
				t.Fatalf("%v was built", built)
			}
			if got := readOutput(t, d, built[0].Outputs["out"]); got != "hello\nb\nflat\ndone\n" {
				t.Errorf("%q was built", got)
			}
			if log := built[1].Outputs["log"]; string(log) != below.Out("log").String() {
				t.Errorf("the log is %s instead of %s", log, below.Out("log"))
			}
		}
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "building") }) {
			t.Errorf("the log has only %q", lines)
		}
		if info, err := c.QueryPathInfo(t.Context(), above.DrvPath()); err != nil || info.Path != above.DrvPath() {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// The paths of content-addressed outputs are known after the build.
func TestRealizeFloating(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations"}})
	ca := mk(t, spec{Name: "ca", ContentAddressed: true, Outputs: []string{"out", "lib"}, Args: list{"-c", "echo ca > $out; echo lib > $lib"}})
	on := mk(t, spec{Name: "on", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo on $x > $out", ca.Out("lib"))}})
	built, err := pixpkgs.Realize(t.Context(), dial(t, d), ca, on)
	if err != nil {
		t.Fatal(err)
	}
	if got := readOutput(t, d, built[0].Outputs["lib"]); got != "lib\n" || ca.String()[0] != '/' || len(built[0].Outputs) != 2 {
		t.Errorf("%q, %v", got, built[0].Outputs)
	}
	if got := readOutput(t, d, built[1].Outputs["out"]); got != "on lib\n" {
		t.Errorf("%q", got)
	}
	if path, err := on.OutputPath(""); path != "" || err != nil {
		t.Errorf("the path %s is known before the build, %v", path, err)
	}
}

// The builder receives structured attributes and variables as files.
func TestRealizeAttributes(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "trixie"), nil)
	structured := mk(t, spec{Name: "structured", Attrs: env{"list": list{1.5, "a\x01b"}, "text": dep(t).Out("")},
		Args: list{"-c", `PATH=/bin:/usr/bin; . "$NIX_ATTRS_SH_FILE"; cat "$NIX_ATTRS_JSON_FILE" > ${outputs[out]}`}, Builder: "/bin/bash"})
	passed := mk(t, spec{Name: "passed", Env: env{"passAsFile": list{"big"}, "big": "a\nb"}, Args: list{"-c", `PATH=/bin:/usr/bin; cat "$bigPath" > $out`}})
	without := mk(t, spec{Name: "structured2", Attrs: env{"list": list{1.5, "a\x01b"}},
		Args: list{"-c", `PATH=/bin:/usr/bin; . "$NIX_ATTRS_SH_FILE"; cat "$NIX_ATTRS_JSON_FILE" > ${outputs[out]}`}, Builder: "/bin/bash"})
	built, err := pixpkgs.Realize(t.Context(), dial(t, d), passed, without)
	if err != nil {
		t.Fatal(err)
	}
	if got := readOutput(t, d, built[0].Outputs["out"]); got != "a\nb" {
		t.Errorf("the file has %q", got)
	}
	var attrs struct{ List []any }
	if err := json.Unmarshal([]byte(readOutput(t, d, built[1].Outputs["out"])), &attrs); err != nil || len(attrs.List) != 2 || attrs.List[1] != "a\x01b" {
		t.Errorf("the attributes are %v, %v", attrs, err)
	}
	// A build whose dependency creates no output fails.
	_, err = pixpkgs.Realize(t.Context(), dial(t, d), structured)
	var failed *store.BuildError
	if !errors.As(err, &failed) {
		t.Errorf("a build whose dependency creates no output: %v", err)
	}
}

func TestRealizeErrors(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "bookworm"), nil)
	c := dial(t, d)
	foreign := storepath.Path("/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt")
	missing := mk(t, spec{Name: "missing", Args: list{"-c", "echo > $out"}, Deps: list{pixpkgs.StorePath(foreign)}})
	if _, err := pixpkgs.Realize(t.Context(), c, missing); err == nil || !strings.Contains(err.Error(), `"missing"`) || !strings.Contains(err.Error(), string(foreign)) {
		t.Errorf("a missing source: %v", err)
	}
	if _, err := pixpkgs.Realize(t.Context(), c, nil); err == nil {
		t.Error("nil is accepted")
	}
	if _, err := pixpkgs.Realize(t.Context(), c, mk(t, spec{Name: "guix", Dir: "/gnu/store"})); err == nil || !strings.Contains(err.Error(), `"guix"`) {
		t.Errorf("a package in another store directory: %v", err)
	}

	file := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(file, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	source, err := pixpkgs.Source(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("after "), 0o644); err != nil {
		t.Fatal(err)
	}
	changed := mk(t, spec{Name: "changed", Args: list{"-c", "read x < $src; echo $x > $out"}, Env: env{"src": source}})
	if _, err := pixpkgs.Realize(t.Context(), c, changed); err == nil || !strings.Contains(err.Error(), source.String()) {
		t.Errorf("a source that has changed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pixpkgs.Realize(ctx, c, changed); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
}
