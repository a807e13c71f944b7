package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// A manualLine is a command line of the manual of Nix, or of the README of a program beside it, and the command line of
// pix that reports the same facts. Both are text for a shell.
type manualLine struct {
	other, pix string
	same       func(other, pix string) bool // compares the standard outputs; nil if only the exit codes count
}

// manualPackages is an expression with three packages: app refers to lib, and new is another version of app.
const manualPackages = `
let
  package = name: script: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; PATH = "/usr/bin:/bin";
    args = [ "-c" ("echo building " + name + "; mkdir -p $out/bin; " + script) ];
  };
  lib = package "lib-1.0" "echo lib > $out/file";
in {
  inherit lib;
  app = package "app-1.0" "echo ${lib}/file > $out/bin/app; chmod +x $out/bin/app";
  new = package "app-2.0" "echo ${lib}/file and more > $out/bin/app; chmod +x $out/bin/app";
}`

// manualLines are run in this order on one store. The first word of other is the program.
var manualLines = []manualLine{
	// nix-store
	{"nix-store --realise $DRV", "pix build $DRV^out", sameText},
	{"nix-store --realise --check $DRV", "pix build --check $DRV^out", sameText},
	{"nix-store --realise --dry-run $DRV", "pix build --dry-run $DRV^out", sameText},
	{"nix-store --query --requisites $OUT", "pix closure $OUT", sameLines},
	{"nix-store --query --requisites $DRV", "pix closure $DRV", sameLines},
	{"nix-store --query --references $OUT", "pix path-info $OUT", hasOther},
	{"nix-store --query --referrers $LIB", "pix referrers $LIB", sameLines},
	{"nix-store --query --referrers-closure $LIB", "pix referrers --closure $LIB", sameLines},
	{"nix-store --query --deriver $OUT", "pix path-info $OUT", hasOther},
	{"nix-store --query --valid-derivers $OUT", "pix derivers $OUT", sameLines},
	{"nix-store --query --outputs $DRV", "pix outputs $DRV", sameText},
	{"nix-store --query --hash $OUT | sed 's/sha256://'", "pix hash-convert --to nix32 $(pix path-info $OUT | sed -n 's/^nar-hash: //p')", hasOther},
	{"nix-store --query --size $OUT", "pix path-info $OUT", hasOther},
	{"nix-store --query --tree $OUT", "pix tree $OUT", sameText},
	{"nix-store --query --graphml $OUT", "pix graph --graphml $OUT", sameLines},
	{"nix-store --query --binding name $DRV", "pix drv-show $DRV", hasOther},
	{"nix-store --check-validity $OUT", "pix is-valid $OUT", nil},
	{"nix-store --read-log $DRV", "pix log $DRV", sameText},
	{"nix-store --add ./tree", "pix add ./tree", sameText},
	{"nix-store --add-fixed sha256 ./file", "pix add --mode flat ./file", sameText},
	{"nix-store --add-fixed --recursive sha1 ./tree", "pix add --hash-algo sha1 ./tree", sameText},
	{"nix-store --print-fixed-path sha256 $HASH name", "pix store-path --mode flat --hash-algo sha256 --hash $HASH --name name", sameText},
	{"nix-store --dump ./tree | sha256sum", "pix nar-dump ./tree | sha256sum", sameText},
	{"nix-store --dump ./tree | nix-store --restore ./theirs", "pix nar-dump ./tree | pix nar-restore ./ours && diff -r ours theirs", sameText},
	{"nix-store --export $OUT | sha256sum", "pix export $OUT | sha256sum", sameText},
	{"nix-store --export $OUT | nix-store --import", "pix export $OUT | pix import", sameText},
	{"nix-store --dump-db", "pix dump-db", sameText},
	{"nix-store --verify --check-contents", "pix verify-store --check-contents", nil},
	{"nix-store --verify-path $OUT", "pix verify --no-trust $OUT", nil},
	{"nix-store --realise --add-root ./result $DRV", "pix build --out-link ./result $DRV^out", nil},
	{"nix-store --query --roots $LIB", "pix roots $LIB", sameRoots},
	{"nix-store --gc --print-dead", "pix gc --dry-run", sameLines},
	{"nix-store --delete $LIB", "pix gc $LIB", nil},

	// nix-env, nix-collect-garbage
	{"nix-env -p ./prof --set $OUT", "pix profile set -p ./prof $OUT", nil},
	{"nix-env -p ./prof --set $NEW", "pix profile set -p ./prof $NEW", nil},
	{"nix-env -p ./prof --list-generations | sed 's/^ *\\([0-9]*\\) .*[0-9] */\\1 /'", "pix profile history -p ./prof | sed 's/^ *\\([0-9]*\\) [^(]*/\\1 /'", sameText},
	{"nix-env -p ./prof --switch-generation 1; readlink prof", "pix profile switch -p ./prof 1 > switched; readlink prof", sameText},
	{"nix-env -p ./prof --switch-generation 7", "pix profile switch -p ./prof 7", nil},
	{"nix-env -p ./prof --rollback", "pix profile rollback -p ./prof", nil},
	{"nix profile history --profile ./prof", "pix profile history -p ./prof", nil},
	{"nix profile diff-closures --profile ./prof", "pix profile diff -p ./prof", sameMatches("[0-9]+\\.0")},
	{"nix-env -p ./prof --delete-generations 2; ls -d prof-*", "pix profile delete-generations -p ./prof 2; ls -d prof-*", lastLineSame},
	{"nix-collect-garbage --dry-run", "pix gc --dry-run", nil},

	// nix
	{"nix path-info $OUT", "pix path-info -s $OUT | grep -o '^/[^[:space:]]*'", sameText},
	{"nix path-info -rsS $OUT", "pix path-info -rsS $OUT", sameFields},
	{"nix path-info --all", "pix path-info --all -s | grep -o '^/[^[:space:]]*'", sameLines},
	{"nix path-info --json --json-format 2 $OUT", "pix path-info --json --json-format 2 $OUT", sameJSON},
	{"nix why-depends $OUT $LIB", "pix why-depends $OUT $LIB", sameStorePaths},
	{"nix why-depends $LIB $OUT", "pix why-depends $LIB $OUT || [ $? = 1 ]", sameText}, // Nix answers no with 0
	{"nix store ls --recursive $OUT", "pix ls -R $OUT", sameText},
	{"nix store ls --long $OUT/bin/app", "pix ls --long $OUT/bin/app", sameText},
	{"nix store ls --json --recursive $OUT", "pix ls --json -R $OUT | sed 's/\"narOffset\":[0-9]*,//'", sameJSON},
	{"nix store cat $OUT/bin/app", "pix cat $OUT/bin/app", sameText},
	{"nix store dump-path $OUT | sha256sum", "pix dump $OUT | sha256sum", sameText},
	{"nix store add --name tree2 ./tree", "pix add --name tree2 ./tree", sameText},
	{"nix store prefetch-file --json file://$PWD/file", "pix prefetch --json file://$PWD/file", sameMembers("hash", "storePath")},
	{"nix store diff-closures $OUT $NEW", "pix diff $OUT $NEW", sameMatches("[0-9]+\\.0")},
	{"nix store verify --all --no-trust", "pix verify --all --no-trust", nil},
	{"nix store verify --no-contents --sigs-needed 1 $OUT", "pix verify --no-contents --sigs-needed 1 $OUT", nil},
	{"nix store sign -k ./key -r $OUT && nix path-info --json --json-format 2 $OUT", "pix sign -k ./key -r $OUT && pix path-info --json --json-format 2 $OUT", sameJSON},
	{"nix store info --json", "pix daemon-info", nil},
	{"nix store gc --dry-run", "pix gc --dry-run", nil},
	{"nix store optimise", "pix optimise", nil},
	{"nix store delete $LIB", "pix gc $LIB", nil},
	{"nix store repair $OUT", "pix build --repair $OUT", nil},
	{"nix derivation show $DRV", "pix drv-show --json-version 4 $DRV", sameJSON},
	{"nix derivation show -r $DRV", "pix drv-show -r $DRV", sameJSON},
	{"nix derivation show $OUT | tee shown | wc -l", "pix drv-show --json-version 4 $OUT | wc -l", nil},
	{"nix log $OUT", "pix log $OUT", sameText},
	{"nix build --no-link --print-out-paths $DRV^out", "pix build $DRV^out", sameText},
	{"nix build --no-link --rebuild $DRV^out", "pix build --rebuild $DRV^out", nil},
	{"nix copy --no-check-sigs --to file://$PWD/cache1 $OUT && ls cache1 | sort", "pix copy --no-check-sigs --to file://$PWD/cache2 $OUT > copied && ls cache2 | sort", sameText},
	{"nix path-info --store file://$PWD/cache1 -r $OUT", "pix path-info --store file://$PWD/cache2 -rs $OUT", sameStorePaths},
	{"nix realisation info $OUT", "pix build-trace info $OUT", sameText},
	{"nix hash path ./tree", "pix hash-path --sri ./tree", sameText},
	{"nix hash path --base64 ./tree", "pix hash-path --base64 ./tree", hasOther},
	{"nix hash file --type sha512 --base32 ./file", "pix hash-file --type sha512 --base32 ./file", hasOther},
	{"nix hash convert --hash-algo sha256 --to base64 $HASH", "pix hash-convert --hash-algo sha256 --to base64 $HASH", sameText},
	{"nix key convert-secret-to-public < key", "pix key-public < key", hasOther},

	// nix-hash, nix-prefetch-url
	{"nix-hash --type sha256 ./tree", "pix hash-path ./tree", hasOther},
	{"nix-hash --flat --type sha256 --base32 ./file", "pix hash-file --base32 ./file", hasOther},
	{"nix-hash --type sha256 --to-base32 $HASH", "pix hash-convert --hash-algo sha256 --to nix32 $HASH", hasOther},
	{"nix-prefetch-url file://$PWD/file", "pix hash-convert --to nix32 $(pix prefetch file://$PWD/file | head -n 1)", hasOther},
}

// readmeLines are command lines of the READMEs of nix-tree, nvd and nix-diff, of pix, and of Nix: the last two report the
// same facts.
var readmeLines = []struct {
	other, pix, nix string
	same            func(nix, pix string) bool
}{
	{"nix-tree $OUT", "pix tree --sizes $OUT", "nix-store --query --requisites $OUT", sameStorePaths},
	{"nix-tree --derivation $DRV", "pix tree --sizes $DRV", "nix-store --query --requisites $DRV", sameStorePaths},
	{"nix-tree --dot $OUT", "pix graph --dot $OUT", "nix-store --query --graph $OUT", sameMatches(`[a-z0-9]{32}-[a-z0-9.-]+`)},
	{"nix-tree --store https://cache.nixos.org $OUT", "pix tree --store file://$PWD/cache2 --sizes $OUT", "nix path-info --store file://$PWD/cache1 -r $OUT", sameStorePaths},
	{"nvd diff $OUT $NEW", "pix diff $OUT $NEW", "nix store diff-closures $OUT $NEW", sameMatches(`[0-9]+\.0`)},
	{"nvd list -r $OUT", "pix path-info -r --table $OUT", "nix path-info -r $OUT", sameStorePaths},
	{"nvd history", "pix profile history -p ./prof", "nix-env -p ./prof --list-generations", sameMatches(`(?m)^ *[0-9]+ `)},
	{"nix-diff $DRV $OTHER", "pix drv-diff $DRV $OTHER || [ $? = 1 ]", "nix-store --query --binding name $DRV; nix-store --query --binding name $OTHER", sameMatches(`app-[12]\.0\b`)},
	{"nix-diff $OUT $NEW", "pix drv-diff $OUT $NEW || [ $? = 1 ]", "nix-store --query --binding name $DRV; nix-store --query --binding name $OTHER", sameMatches(`app-[12]\.0\b`)},
}

// The command lines of the manual have the same facts and exit codes in pix as in Nix 2.34.
func TestManualCommandLines(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations"}})
	variables := manualStore(t, d)
	check := func(nix, pix string, same func(nix, pix string) bool) {
		t.Helper()
		theirs, _, wantCode := outputOf(t, d.Command(context.Background(), "sh", "-c", "cd /tmp && "+variables.Replace(nix)))

		cmd := exec.Command("sh", "-c", variables.Replace(pix))
		cmd.Dir = d.HostPath("/tmp")
		cmd.Env = append(os.Environ(), "PIX_STORE=unix://"+d.Socket, "NIX_LOG_DIR="+d.HostPath("/nix/var/log/nix"), "NIX_STATE_DIR="+d.HostPath("/nix/var/nix"))
		ours, stderr, code := outputOf(t, cmd)
		if code != wantCode || same != nil && !same(theirs, ours) {
			t.Errorf("%s\nprints, with exit code %d:\n%s%s\nprints, with exit code %d:\n%s%s", nix, wantCode, theirs, pix, code, ours, stderr)
		}
	}
	for _, l := range manualLines {
		check(l.other, l.pix, l.same)
	}
	for _, l := range readmeLines {
		check(l.nix, l.pix, l.same)
	}
}

// Each command line of another program, after pix, is an error that names the verb.
func TestManualHints(t *testing.T) {
	lines := map[string]string{}
	for _, l := range manualLines {
		lines[l.other] = l.pix
	}
	for _, l := range readmeLines {
		lines[l.other] = l.pix
	}
	for other, pix := range lines {
		words := strings.Fields(regexp.MustCompile("[|;&<].*").ReplaceAllString(other, ""))
		var stderr strings.Builder
		code := run(words, strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" })
		isNamed := false
		for _, verb := range regexp.MustCompile(`pix (profile )?[a-z-]+`).FindAllString(pix, -1) {
			isNamed = isNamed || strings.Contains(stderr.String(), verb)
		}
		if code != exitUsage || !isNamed {
			t.Errorf("pix %s: exit code %d, %swant a hint to: %s", other, code, stderr.String(), pix)
		}
	}
}

// manualStore fills the store of a daemon, and returns the variables of the command lines. They are not in the environment,
// because a path in the environment of a process is a root.
func manualStore(t *testing.T, d *realnix.Daemon) *strings.Replacer {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(d.HostPath("/tmp/tree/dir"), 0o755))
	for name, text := range map[string]string{
		"tree/dir/file": "text", "file": "hello", "packages.nix": manualPackages,
		"key": "test-1:h8zhLxKbEYCRGki6oz99dluk/4EdriEq9WMvqFu4Rk7SudgS8DbY2eE75z7yGPZQjFhV2PHAdJ0N5IoETAuhBg==",
	} {
		must(os.WriteFile(d.HostPath("/tmp/"+name), []byte(text), 0o644))
	}
	variables := []string{"$HASH", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
	for attribute, names := range map[string][2]string{"lib": {"$DEPENDENCY", "$LIB"}, "app": {"$DRV", "$OUT"}, "new": {"$OTHER", "$NEW"}} {
		drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--add-root", "/tmp/"+attribute+".drv", "/tmp/packages.nix", "-A", attribute))
		drv = strings.TrimSpace(d.MustRun(t, "readlink", drv))
		out := strings.TrimSpace(d.MustRun(t, "nix-store", "--realise", drv))
		variables = append(variables, names[0], drv, names[1], out)
	}
	return strings.NewReplacer(variables...)
}

// outputOf runs a command, and returns its output and its exit code.
func outputOf(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func sameText(other, pix string) bool   { return other == pix }
func sameLines(other, pix string) bool  { return sortedLines(other) == sortedLines(pix) }
func sameFields(other, pix string) bool { return columns(other) == columns(pix) }
func sameRoots(other, pix string) bool  { return withoutProcesses(other) == withoutProcesses(pix) }

// hasOther reports whether the output of pix has each line of the other output.
func hasOther(other, pix string) bool {
	for line := range strings.Lines(other) {
		if !strings.Contains(pix, strings.TrimSpace(line)) {
			return false
		}
	}
	return other != ""
}

func lastLineSame(other, pix string) bool {
	lines := strings.Split(strings.TrimSpace(pix), "\n")
	return strings.TrimSpace(other) == lines[len(lines)-1]
}

func sameJSON(other, pix string) bool {
	var a, b any
	return json.Unmarshal([]byte(other), &a) == nil && json.Unmarshal([]byte(pix), &b) == nil && reflect.DeepEqual(a, b)
}

// sameMembers compares members of two JSON objects.
func sameMembers(names ...string) func(other, pix string) bool {
	return func(other, pix string) bool {
		var a, b map[string]any
		if json.Unmarshal([]byte(other), &a) != nil || json.Unmarshal([]byte(pix), &b) != nil {
			return false
		}
		return !slices.ContainsFunc(names, func(name string) bool { return a[name] == nil || !reflect.DeepEqual(a[name], b[name]) })
	}
}

// sameStorePaths compares the store paths in two texts, in their order.
func sameStorePaths(other, pix string) bool {
	return sameMatches(`/nix/store/[a-z0-9]{32}-[a-z0-9.]+`)(other, pix)
}

// sameMatches compares the distinct matches of a regular expression.
func sameMatches(expression string) func(other, pix string) bool {
	return func(other, pix string) bool {
		find := func(text string) []string {
			found := regexp.MustCompile(expression).FindAllString(text, -1)
			slices.Sort(found)
			return slices.Compact(found)
		}
		return len(find(other)) > 0 && slices.Equal(find(other), find(pix))
	}
}
