package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// dynamicConfig are the settings of the daemons of the tests of dynamic derivations.
var dynamicConfig = map[string]string{
	"experimental-features": "nix-command ca-derivations dynamic-derivations impure-derivations",
	"sandbox":               "false",
}

// dynamicNix are derivations that yield derivations, and such as use the outputs of those.
const dynamicNix = `
let
  make = name: script: attrs: derivation ({
    inherit name; system = builtins.currentSystem; builder = "/usr/bin/bash"; PATH = "/usr/bin";
    args = [ "-c" "trap : EXIT; ${script}" ];
  } // attrs);
  text = { __contentAddressed = true; outputHashMode = "text"; outputHashAlgo = "sha256"; };
  floating = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  copy = d: make "${d.name}.drv" "cp ${builtins.unsafeDiscardOutputDependency d.drvPath} $out" text;
  use = d: builtins.outputOf d.outPath "out";
in rec {
  hello = make "hello" "echo hello > $out; echo dev > $dev" { outputs = [ "out" "dev" ]; };
  helloCA = make "hello-ca" "echo hello > $out" floating;
  broken = make "broken" "echo this is broken; exit 1" { };
  changing = make "changing" "date +%s%N > $out" { __impure = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };

  producer = copy hello;
  producerCA = copy helloCA;
  producer2 = copy producer;
  ofBroken = copy broken;
  ofChanging = copy changing;
  failing = make "failing.drv" "echo this fails; exit 3" text;
  garbage = make "garbage.drv" "echo this is no derivation > $out" text;
  empty = make "empty.drv" ": > $out" text;
  plain = make "plain" "echo text > $out" text;
  impure = make "hello.drv" "cp ${builtins.unsafeDiscardOutputDependency hello.drvPath} $out" { __impure = true; outputHashMode = "text"; outputHashAlgo = "sha256"; };
  extra = make "hello.drv" "cat ${builtins.unsafeDiscardOutputDependency hello.drvPath} > $out" (text // { inherit hello; });

  wrapper = make "wrapper" "cat ${use producer} > $out; echo ${use producer} >> $out" { };
  wrapperCA = make "wrapper-ca" "cat ${use producerCA} > $out; echo ${use producerCA} >> $out" floating;
  wrapper2 = make "wrapper-2" "cat ${builtins.outputOf (use producer2) "out"} > $out" { };
  both = make "both" "cat ${use producer} ${use producerCA} ${builtins.outputOf producer.outPath "dev"} > $out" { };
  inDependent = make "in-dependent" "cat ${wrapper} > $out" { };
  fixed = make "fixed" "cat ${use producer} > $out" { outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; };
  wrapperFails = make "wrapper-fails" "echo in wrapper; exit 2; # ${use producer}" { };
  wrapperFailsLow = make "wrapper-fails-low" "cat ${wrapperFails} > $out" { };
  wrapperOfBroken = make "wrapper-of-broken" "cat ${use ofBroken} > $out" { };
  wrapperOfFailing = make "wrapper-of-failing" "cat ${use failing} > $out" { };
  wrapperOfGarbage = make "wrapper-of-garbage" "cat ${use garbage} > $out" { };
  wrapperOfPlain = make "wrapper-of-plain" "cat ${use plain} > $out" { };
  wrapperOfChanging = make "wrapper-of-changing" "cat ${use ofChanging} > $out" { };
  noSuchOutput = make "no-such-output" "cat ${builtins.outputOf producer.outPath "nope"} > $out" { };
}
`

// dynamicConversation builds dynamic derivations in every form of a path. $NAME is the derivation of that attribute.
const dynamicConversation = `
nix build --no-link --print-out-paths --dry-run "$producer^out^out"
nix build --no-link --print-out-paths --dry-run -f dynamic.nix wrapper both
nix build --no-link --print-out-paths "$producer^out^out"
nix build --no-link --json "$producer^out^out"
nix build --no-link --json "$producer^out^dev,out"
nix build --no-link --json "$producer^out^*"
nix build --no-link --json "$producer^out"
nix build --no-link --json --rebuild "$producer^out^out"
nix build --no-link --json --rebuild "$producerCA^out^out"
nix build --no-link --json "$producer^out^nope"
nix build --no-link --json "$producer^nope^out"
nix build --no-link --json "$ofBroken^nope^out"
nix build --no-link --json "$producerCA^out" "$producerCA^out^out" "$producerCA^out^out"
nix build --no-link --json "$producer2^out^out"
nix build --no-link --json "$failing^out^out"
nix build --no-link --json "$failing^out^out" "$failing^out"
nix build --no-link --json --keep-going "$failing^out^out" "$failing^out" "$producer^out^out"
nix build --no-link --json "$ofBroken^out^out"
nix build --no-link --json --keep-going "$ofBroken^out^out" "$failing^out^out"
nix build --no-link --json "$garbage^out^out"
nix build --no-link --json "$empty^out^out"
nix build --no-link --json "$plain^out^out"
nix build --no-link --json "$hello^out^out"
nix build --no-link --json "$extra^out^out"
nix-store --realise "$producer!out"
nix-store --realise $wrapper
nix-store --realise $wrapper
nix-store --query --references $(nix-store --realise $wrapper)
nix-store --realise $wrapperCA
nix-store --query --references $(nix-store --realise $wrapperCA)
nix-store --realise $wrapper2
nix-store --realise $both $inDependent
nix-store --realise $fixed
nix-store --realise $wrapperFails
nix-store --realise $wrapperFailsLow
nix-store --realise $wrapperOfBroken
nix-store --realise --keep-going $wrapperOfBroken $wrapperOfFailing $both
nix-store --realise $wrapperOfFailing
nix-store --realise $wrapperOfGarbage
nix-store --realise $wrapperOfPlain
nix-store --realise $noSuchOutput
nix-build --no-out-link dynamic.nix -A both
nix-build --no-out-link dynamic.nix -A wrapperFails
nix build --no-link --print-out-paths -f dynamic.nix wrapperOfFailing
`

// timesOf are the times of builds, which Nix 2.34 does not return for these calls.
var timesOf = regexp.MustCompile(`"(cpuSystem|cpuUser|startTime|stopTime)":[0-9.]+,?|,"(cpuSystem|cpuUser|startTime|stopTime)":[0-9.]+`)

// impureConversation builds paths that differ with every build.
const impureConversation = `
nix build --no-link --json "$impure^out^out"
nix build --no-link --json "$impure^out^out"
nix build --no-link "$ofChanging^out^out"
nix-store --realise $wrapperOfChanging > /dev/null 2>&1
`

// substitutedConversation builds paths whose derivations and outputs are in a cache.
const substitutedConversation = `
nix copy --to file:///root/try/cache "$producerCA^out" "$helloCA^out" "$wrapperCA^out" "$extra^out" $producerCA $wrapperCA > /dev/null 2>&1
nix-store --gc > /dev/null 2>&1
nix-instantiate dynamic.nix -A producerCA
nix build --no-link --json --substituters file:///root/try/cache --option require-sigs false "$producerCA^out^out"
nix-store --gc > /dev/null 2>&1
nix-store --realise $(nix-instantiate dynamic.nix -A extra -A hello | tail -1) > /dev/null 2>&1
nix build --no-link --json --substituters file:///root/try/cache --option require-sigs false "$extra^out^out"
nix-store --gc > /dev/null 2>&1
nix-instantiate dynamic.nix -A wrapperCA
nix-store --realise --option substituters file:///root/try/cache --option require-sigs false "$wrapperCA"
nix-store --gc > /dev/null 2>&1
nix build --no-link --json --substituters file:///root/try/cache --option require-sigs false "$producerCA^out^out"
nix build --no-link --json --substituters file:///root/try/cache --option require-sigs false "$producer2^out^out"
`

// Without the experimental feature the daemons refuse dynamic derivations, whatever the client enables. Nix refuses to add
// some of the derivations, too.
func TestDynamicFeatureAsNix(t *testing.T) {
	s := realnix.Get(t, "sid")
	without := map[string]string{"sandbox": "false", "experimental-features": "nix-command ca-derivations"}
	nix, pix := realnix.Start(t, s, &realnix.Options{Config: without}), startPix(t, without)
	worlds := []*world{dynamicWorld(t, nix), dynamicWorld(t, pix)}
	const conversation = `
nix build --extra-experimental-features dynamic-derivations --no-link "$hello^out^out"
nix build --extra-experimental-features dynamic-derivations --dry-run "$hello^out^out"
`
	compareAnswers(t, s, converse(t, nix, &nix.Client, worlds[0], conversation), converse(t, pix, &pix.Client, worlds[1], conversation))
}

// Stock clients get the same results, messages and exit codes for dynamic derivations from pix daemon as from the daemon
// of Nix 2.34, and the stores have the same paths afterwards.
func TestDynamicBuildsAsNix(t *testing.T) {
	s := realnix.Get(t, "sid")
	nix, pix := realnix.Start(t, s, &realnix.Options{Config: dynamicConfig}), startPix(t, dynamicConfig)
	worlds := []*world{dynamicWorld(t, nix), dynamicWorld(t, pix)}
	compare := func(conversation string) {
		t.Helper()
		conversation = strings.ReplaceAll(conversation, "dynamic.nix", "/tmp/dynamic.nix")
		want := converse(t, nix, &nix.Client, worlds[0], conversation)
		got := converse(t, pix, &pix.Client, worlds[1], conversation)
		for i := range got {
			got[i].Stdout = timesOf.ReplaceAllString(got[i].Stdout, "")
		}
		compareAnswers(t, s, want, got)
	}
	compare(dynamicConversation)
	compareContents(t, nix, pix)
	compare(impureConversation)
	compare(substitutedConversation)
	compareContents(t, nix, pix)
	// The client of Nix 2.34 sends such a path in a form that its own daemon does not parse.
	a := converse(t, pix, &pix.Client, worlds[1], `nix build --no-link --print-out-paths "$producer2^out^out^out"`)[0]
	if !strings.HasSuffix(a.Stdout, "-hello\n") || a.Code != 0 {
		t.Errorf("a path with three outputs: %+v", a)
	}
}

// dynamicWorld instantiates the derivations of dynamicNix.
func dynamicWorld(t *testing.T, d *realnix.Daemon) *world {
	t.Helper()
	w := &world{paths: make(map[string]string)}
	if err := os.WriteFile(d.HostPath("/tmp/dynamic.nix"), []byte(dynamicNix), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(d.MustRun(t, "nix", "eval", "--raw", "-f", "/tmp/dynamic.nix", "--apply", `a: if builtins ? outputOf then toString (builtins.attrNames a) else "hello"`)) {
		w.paths[name] = strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/dynamic.nix", "-A", name))
	}
	return w
}
