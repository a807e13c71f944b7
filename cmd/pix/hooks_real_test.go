package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// A post-build hook runs as under the daemon of Nix 2.34, with the same messages: after builds and checks, for
// content-addressed outputs too, and never for an untrusted client.
func TestPostBuildHookOfStockClients(t *testing.T) {
	s := realnix.Get(t, "sid")
	for _, trusted := range []string{"root", ""} {
		config := map[string]string{"sandbox": "false", "experimental-features": features + " impure-derivations", "trusted-users": trusted}
		builds := hookBuilds
		if trusted == "" {
			builds = builds[:1]
		}
		want := runHooks(t, realnix.Start(t, s, &realnix.Options{Config: config}), builds)
		got := runHooks(t, startPix(t, config), builds)
		for i := range want {
			if diff := diffAnswers(want[i], got[i]); diff != "" {
				t.Errorf("trusted-users = %q: %s (-nix +pix):\n%s", trusted, want[i].Command, diff)
			}
		}
		if noted := want[len(want)-1].Stdout; strings.Contains(noted, "plain") != (trusted != "") {
			t.Errorf("trusted-users = %q: the hook has noted %q", trusted, noted)
		}
	}
}

const hookExpression = `
let make = name: attrs: derivation ({ inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo x > $out" ]; } // attrs); in {
	plain = make "plain" { };
	two = make "two" { outputs = [ "out" "dev" ]; args = [ "-c" "echo out > $out; echo dev > $dev" ]; };
	floating = make "floating" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; needs = make "needed" { }; };
	impure = make "impure" { __impure = true; };
	bad = make "bad" { };
	none = make "none" { };
	needy = make "needy" { needs = make "needed2" { }; };
}
`

// hookScript notes its variables, and whether the outputs are valid.
const hookScript = `#!/bin/sh
echo "hook of $DRV_PATH"
echo "has $OUT_PATHS" >&2
{ echo "$DRV_PATH $OUT_PATHS"; echo "$NIX_CONFIG" | grep -E "^(cores|post-build-hook) ="; } >> /tmp/noted
for path in $OUT_PATHS; do test -e "$path" || exit 9; done
`

// hookBuilds are the arguments of builds with hooks.
var hookBuilds = []string{
	"-A plain --post-build-hook /tmp/hook",
	"-A plain --post-build-hook /tmp/hook", // which is valid
	"-A plain --check --post-build-hook /tmp/hook",
	"-A two.dev --post-build-hook /tmp/hook",
	"-A two --check --post-build-hook /tmp/hook",
	"-A floating --post-build-hook /tmp/hook",
	"-A floating --check --post-build-hook /tmp/hook",
	"-A impure --post-build-hook /tmp/hook",
	"-A bad --post-build-hook /tmp/fails",
	"-A bad --post-build-hook /tmp/fails",
	"-A none --post-build-hook /nonexistent",
	"-A needy --keep-going --post-build-hook /tmp/fails",
}

// runHooks runs builds with hooks.
func runHooks(t *testing.T, d *realnix.Daemon, builds []string) []answer {
	t.Helper()
	for name, text := range map[string]string{"/tmp/hooks.nix": hookExpression, "/tmp/hook": hookScript, "/tmp/fails": "#!/bin/sh\necho failing\nexit 3\n", "/tmp/noted": ""} {
		if err := os.WriteFile(d.HostPath(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d.HostPath(name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	var answers []answer
	run := func(command string) {
		a := runAnswer(t, &d.Client, "", command)
		a.Stderr = impurePath.ReplaceAllString(a.Stderr, "PATH-$1")
		answers = append(answers, a)
	}
	for _, options := range builds {
		run("nix-build --no-out-link --cores 3 /tmp/hooks.nix " + options)
	}
	run("sort /tmp/noted")
	answers[len(answers)-1].Stdout = impurePath.ReplaceAllString(answers[len(answers)-1].Stdout, "PATH-$1")
	return answers
}

// impurePath matches paths that depend on the build.
var impurePath = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-(impure)`)
