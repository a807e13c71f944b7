package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// Stock clients that substitute from the same cache get the same results and exit codes from pix daemon as from the
// daemon of Nix 2.34.
func TestDaemonSubstitutesAsNix(t *testing.T) {
	usual, floating, cache := makeCacheWorld(t)
	server := httptest.NewServer(http.FileServer(http.Dir(cache)))
	defer server.Close()
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		for name, c := range map[string]struct {
			uri, trusted, features string
			world                  *world
			conversation           string
		}{
			"trusted":   {"file:///root/cache", "root", "nix-command", usual, substitution},
			"untrusted": {"file:///root/cache", "", "nix-command", usual, untrustedSubstitution},
			"floating":  {"file:///root/cache", "root", features, floating, floatingSubstitution},
			"http":      {server.URL, "root", "nix-command", usual, httpSubstitution},
		} {
			t.Run(name, func(t *testing.T) {
				config := map[string]string{
					"substituters": c.uri, "trusted-public-keys": usual.paths["public"], "trusted-users": c.trusted,
					"trusted-substituters": "file:///root/other", "experimental-features": c.features,
				}
				nix := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: config})
				pix := startPix(t, config)
				var answers [2][]answer
				for i, d := range []*realnix.Daemon{nix, pix} {
					if out, err := exec.Command("cp", "-a", cache, d.HostPath("/root/cache")).CombinedOutput(); err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
					answers[i] = converse(t, d, d.ClientOf(t, s), c.world, c.conversation)
				}
				compareAnswers(t, s, answers[0], answers[1])
				if t.Failed() {
					t.Logf("messages of pix:\n%s", regexp.MustCompile("accepted connection.*\n").ReplaceAllString(pix.Stderr(), ""))
				}
			})
		}
	})
}

// makeCacheWorld builds derivations with a real Nix and copies them to a cache, which has some defects. The world
// floating has what needs experimental features.
func makeCacheWorld(t *testing.T) (w, floating *world, cache string) {
	t.Helper()
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{
		"experimental-features": features, "secret-key-files": "/root/key", // realisations are signed when they are registered
	}})
	if err := os.WriteFile(d.HostPath("/tmp/cached.nix"), []byte(cachedNix), 0o666); err != nil {
		t.Fatal(err)
	}
	w = &world{paths: make(map[string]string)}
	sh := func(command string) string { return strings.TrimSpace(d.MustRun(t, "sh", "-ec", command)) }
	w.paths["public"] = sh(`cd /root
		nix key generate-secret --key-name test-1 > key; nix key generate-secret --key-name test-1 > wrong
		nix key convert-secret-to-public < key`)
	for name, key := range map[string]string{"top": "key", "doc": "key", "later": "key", "damaged": "key", "needs": "key", "gone": "key", "own": "key", "unsigned": "", "wrong": "wrong"} {
		w.paths[name] = sh("nix-build --no-out-link /tmp/cached.nix -A " + name)
		to := "file:///root/cache"
		if key != "" {
			to += "?secret-key=/root/" + key
		}
		w.paths[name+"Drv"] = sh("nix-instantiate /tmp/cached.nix -A " + name + " 2> /dev/null | sed 's/!.*//'")
		sh("nix-store --realise " + w.paths[name+"Drv"] + "; nix copy --to '" + to + "' $(nix-store -q --outputs " + w.paths[name+"Drv"] + ")")
	}
	w.paths["floatingDrv"] = sh("nix-instantiate /tmp/cached.nix -A floating 2> /dev/null | sed 's/!.*//'")
	sh("nix copy --to 'file:///root/cache?secret-key=/root/key' '" + w.paths["floatingDrv"] + "^*'")
	sh(`cd /root/cache
		url() { sed -n 's/^URL: //p' "$(basename "$1" | cut -c 1-32).narinfo"; }
		echo nonsense > "$(url ` + w.paths["damaged"] + `)"; rm "$(url ` + w.paths["gone"] + `)"`)
	var drvs []string
	for name, path := range w.paths {
		if strings.HasSuffix(name, "Drv") && name != "floatingDrv" {
			drvs = append(drvs, path)
		}
	}
	export := func(drvs ...string) []byte {
		return []byte(d.MustRun(t, "sh", "-c", "nix-store --export $(nix-store -qR "+strings.Join(drvs, " ")+")"))
	}
	w.export = export(drvs...)
	floating = &world{paths: w.paths, export: export(w.paths["floatingDrv"])}
	cache = filepath.Join(t.TempDir(), "cache")
	if out, err := exec.Command("cp", "-a", d.HostPath("/root/cache"), cache).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return w, floating, cache
}

// features are the experimental features for content-addressed outputs.
const features = "nix-command ca-derivations"

const cachedNix = `
let
  make = name: more: text: derivation ({
    inherit name; system = "x86_64-linux"; builder = "/bin/sh";
    outputs = [ "out" "doc" ];
    args = [ "-c" "echo ${text} > $out; echo $out > $doc" ];
  } // more);
  dep = make "dep" { } "no-references";
  top = make "top" { } "${dep} and ${builtins.toFile "text" "a text"} and $out";
  damaged = make "damaged" { } "${dep}";
in {
  inherit top damaged;
  doc = top.doc;
  later = make "later" { } "later";
  floating = make "floating" { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; } "floating";
  needs = make "needs" { } "${damaged} and ${dep}";
  gone = make "gone" { } "gone";
  own = make "own" { allowSubstitutes = false; } "own";
  unsigned = make "unsigned" { } "nobody";
  wrong = make "wrong" { } "somebody else";
}
`

// substitution is the conversation of clients that substitute. Nothing is built, because pix cannot build. Commands
// that begin with ! have other messages in pix, about decompression and about transfers that were started in
// parallel.
const substitution = `
nix-store --import < export | wc -l
nix-store -q --outputs $topDrv
nix path-info $top
nix-store --check-validity $top
nix-store --realise --dry-run $topDrv
nix-store --realise --dry-run $top $later $absent $unsigned
nix build --dry-run $topDrv^*
nix build --dry-run $ownDrv^*
nix-store --realise --dry-run $ownDrv
nix-store --realise --dry-run $ownDrv --option always-allow-substitutes true
nix build --dry-run --json $top
nix-store --realise $top
nix-store --check-validity $top $doc
nix-store -qR $top
nix-store -q --deriver $top
nix-store -q --hash $top
nix path-info $top
nix path-info --sigs $top
nix path-info --json $top
nix-store --realise $top
nix-store --realise $topDrv
nix-store --check-validity $top $doc
nix build --no-link --json $topDrv^*
nix build --no-link --print-out-paths $topDrv^*
nix-store --realise $absent
nix build --no-link $absent
nix-store --realise $unsigned
nix build --no-link $unsigned
nix-store --realise $wrong
!nix-store --realise $damaged
!nix build --no-link $damaged
!nix-store --realise $damagedDrv
!nix build --no-link $damagedDrv^*
!nix-store --realise $needs
!nix build --no-link $needs
nix-store --realise $gone
nix-store --option substitute false --realise $later
nix-store --option substituters '' --realise $later
nix-store --realise --dry-run $later
nix-store --realise $later $absent
nix-store --realise --add-root later --indirect $later
nix-store -q --roots $later
nix-store --delete $later
nix-store --option require-sigs false --realise $unsigned
nix build --no-link --option trusted-public-keys '' $own
nix build --no-link $own
nix-store --check-validity $own $unsigned $wrong
nix store delete $own
nix copy --substitute-on-destination --from file:///root/cache $own
nix path-info $own
nix-store --verify --check-contents
@nix-store --gc --print-dead | grep -v lock
`

// untrustedSubstitution is the conversation of untrusted clients.
const untrustedSubstitution = `
nix-store --import < export | wc -l
nix-store --option substituters file:///root/evil --realise $later
nix-store --option substituters 'file:///root/evil file:///root/cache' --realise --dry-run $later
nix-store --option substituters file:///root/cache --realise $later
nix-store --option substituters 'file:///root/cache?trusted=1' --realise $unsigned
nix-store --option substituters '' --realise $own
cp -r /root/cache /root/other
nix-store --option substituters file:///root/other --realise $own
nix-store --option trusted-public-keys '' --option require-sigs false --realise $unsigned
nix-store --option extra-substituters file:///root/evil --realise $unsigned
nix-store --option substitute false --realise $top
nix-store --option fallback true --realise $top
nix-store --realise $top
nix path-info --json $top
nix build --no-link --json $topDrv^*
@nix-store --gc --print-dead | grep -v lock
`

// floatingSubstitution is the conversation about content-addressed outputs, whose paths are not known in advance.
const floatingSubstitution = `
nix-store --import < export | wc -l
nix-store --realise --dry-run $floatingDrv
nix build --dry-run --json $floatingDrv^*
nix-store --realise $floatingDrv
nix build --no-link --json $floatingDrv^*
nix build --no-link --print-out-paths $floatingDrv^*
nix path-info --json $(nix build --no-link --print-out-paths $floatingDrv^out)
`

// httpSubstitution is the conversation with a cache over HTTP.
const httpSubstitution = `
nix-store --import < export | wc -l
nix-store --realise --dry-run $topDrv
nix build --dry-run --json $topDrv^*
!nix-store --option substituters http://127.0.0.1:1 --realise $later
nix-store --realise $topDrv
nix-store -qR $top
nix path-info --json $top
nix build --no-link --json $topDrv^*
nix-store --realise $absent
nix-store --realise $unsigned
!nix-store --realise $damaged
nix-store --realise $gone
!nix-store --option substituters 'http://127.0.0.1:1 file:///root/cache' --realise $later
nix path-info $later
`
