package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// A world of builds is a configuration of a daemon under which derivations are built.
var buildWorlds = map[string]map[string]string{
	"open":  {"sandbox": "false", "experimental-features": kindFeatures},
	"boxed": {"sandbox": "true", "sandbox-paths": "/usr /lib /lib64", "experimental-features": kindFeatures},
	"users": {"sandbox": "true", "sandbox-paths": "/usr /lib /lib64", "build-users-group": "nixbld", "experimental-features": kindFeatures},
}

// Stock clients of each version get the same outputs, references, logs, messages and exit codes from builds of pix daemon
// as from builds of the daemon of Nix 2.34.
func TestBuildsOfStockClients(t *testing.T) {
	count, seed, clients := 20, uint64(1), map[string][]string{"boxed": {"sid"}}
	if os.Getenv("PIX_LONG") != "" {
		count, seed = 200, rand.Uint64()
		for world := range buildWorlds {
			clients[world] = []string{"bookworm", "trixie", "sid"}
		}
	}
	t.Logf("the seed is %d", seed)
	for world, config := range buildWorlds {
		if config["build-users-group"] != "" && os.Geteuid() != 0 {
			continue
		}
		for _, suite := range clients[world] {
			t.Run(world+"/"+suite, func(t *testing.T) { compareBuilds(t, config, realnix.Get(t, suite), seed, count) })
		}
	}
}

// compareBuilds builds derivations with clients of one version, by the daemons of Nix and of pix.
func compareBuilds(t *testing.T, config map[string]string, client realnix.Suite, seed uint64, count int) {
	nix := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: config})
	pix := startPix(t, config)
	expression, kinds := generateBuilds(rand.New(rand.NewPCG(seed, 0)), count, client.Name != "bookworm")
	want := buildAll(t, nix, nix.ClientOf(t, client), expression, kinds)
	got := buildAll(t, pix, pix.ClientOf(t, client), expression, kinds)
	for i := range want {
		if diff := diffAnswers(want[i], got[i]); diff != "" {
			t.Errorf("%s (-nix +pix):\n%s", want[i].Command, diff)
		}
	}
	compareContents(t, nix, pix)
}

// buildAll builds the derivations of an expression one after the other, and returns what the client and the logs say.
func buildAll(t *testing.T, d *realnix.Daemon, client *realnix.Client, expression string, kinds []string) []answer {
	t.Helper()
	if err := os.WriteFile(d.HostPath("/tmp/builds.nix"), []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	drvs := strings.Fields(client.MustRun(t, "nix-instantiate", "/tmp/builds.nix"))
	var answers []answer
	for i, drv := range drvs {
		options := "--max-silent-time 20"
		if strings.Contains(kinds[i], "sleep") {
			options = "--timeout 5" // the builder must write its log before, on a busy machine, too
		}
		for _, command := range []string{"nix-store --realise " + options + " ", "nix-store --read-log "} {
			a := runAnswer(t, client, "", command+drv)
			a.Command += " # " + kinds[i]
			answers = append(answers, a)
		}
	}
	return answers
}

// runAnswer runs a command line as a client.
func runAnswer(t *testing.T, client *realnix.Client, env, command string) answer {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := client.Command(context.Background(), "bash", "-c", command)
	cmd.Env = append(cmd.Env, env)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	a := answer{Command: command}
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		a.Code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	a.Stdout, a.Stderr = normalize(stdout.String(), false), normalize(notTheText.ReplaceAllString(stderr.String(), "$1$2$3 …"), true)
	// Nix repeats some warnings, and the failure of a resolved derivation for each output.
	resolved := strings.Contains(a.Stderr, "error: build of resolved derivation")
	lines := slices.CompactFunc(strings.SplitAfter(a.Stderr, "\n"), func(a, b string) bool {
		return a == b && (resolved || strings.HasPrefix(a, "warning: 'structuredAttrs'") || strings.HasPrefix(a, "warning: 'exportReferencesGraph'"))
	})
	a.Stderr = strings.Join(lines, "")
	return a
}

// notTheText matches the parts of messages that differ between runs, or that the libraries for JSON of Nix and of Go word.
var notTheText = regexp.MustCompile(`(JSON (?:log )?message from the derivation builder:).*|(output path) ".*/x"|(retrying in) [0-9]+ ms`)

// compareContents checks the stores of two daemons, and compares what they know of their paths.
func compareContents(t *testing.T, nix, pix *realnix.Daemon) {
	t.Helper()
	infos := func(d *realnix.Daemon) map[storepath.Path]*store.PathInfo {
		a := runAnswer(t, &d.Client, "NIX_REMOTE=local", "nix-store --verify --check-contents 2>&1")
		if a.Code != 0 || strings.Contains(a.Stdout, "error") || strings.Contains(a.Stdout, "disappeared") || strings.Contains(a.Stdout, "modified") {
			t.Errorf("Nix finds errors:\n%s", a.Stdout)
		}
		known, err := store.ParsePathInfosJSON(storepath.DefaultDir, []byte(d.MustRun(t, "nix", "path-info", "--json", "--all")))
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	want, got := infos(nix), infos(pix)
	for path := range want {
		if describeInfo(want[path]) != describeInfo(got[path]) {
			t.Errorf("pix: %s\nNix: %s", describeInfo(got[path]), describeInfo(want[path]))
		}
	}
	for path := range got {
		if want[path] == nil {
			t.Errorf("only pix has %s", describeInfo(got[path]))
		}
	}
}

func describeInfo(info *store.PathInfo) string {
	if info == nil {
		return "not valid"
	}
	return fmt.Sprint(info.Path, info.Deriver, info.NARHash, info.NARSize, info.References, info.Ultimate, info.CA)
}

// A generated is a derivation in the making.
type generated struct {
	r          *rand.Rand
	kind       []string // what it does, for messages
	script     strings.Builder
	attrs      strings.Builder
	outputs    []string
	structured bool
	deps       []string // names of other derivations
	newer      bool     // the client knows dynamic derivations
}

// generateBuilds returns an expression of random derivations, and what each does. The trap keeps the shell alive to the
// end: Nix may kill a program that closes its output before it exits, as GNU's tools do. A newer client is one that knows
// dynamic derivations.
func generateBuilds(r *rand.Rand, count int, newer bool) (expression string, kinds []string) {
	var text strings.Builder
	text.WriteString("let\n make = attrs: derivation ({ system = builtins.currentSystem; builder = \"/usr/bin/bash\"; PATH = \"/usr/bin\"; } // attrs);\n")
	var good, all []string
	for i := range count {
		name := fmt.Sprintf("d%d", i)
		g := &generated{r: r, outputs: []string{"out", "dev", "lib"}[:1+r.IntN(3)*r.IntN(2)], structured: r.IntN(4) == 0, newer: newer}
		for range min(r.IntN(3), len(good)) {
			g.deps = append(g.deps, good[r.IntN(len(good))])
		}
		ok := g.generate()
		if ok {
			good = append(good, name)
		}
		all = append(all, name)
		kinds = append(kinds, strings.Join(g.kind, " "))
		fmt.Fprintf(&text, " %s = make ({ name = \"%s\"; args = [ \"-c\" ''trap : EXIT; %s'' ]; } // {%s });\n", name, name, strings.ReplaceAll(g.script.String(), "${", "''${"), g.attrs.String())
	}
	text.WriteString("in [ " + strings.Join(all, " ") + " ]\n")
	return text.String(), kinds
}

// generate fills the derivation, and reports whether its build should succeed.
func (g *generated) generate() bool {
	switch g.r.IntN(10) {
	case 0, 1:
		return g.fixed()
	case 2:
		return g.strange()
	case 3:
		if g.newer && len(g.deps) > 0 {
			return g.dynamic()
		}
		if g.newer {
			return g.text()
		}
	}
	if g.structured {
		g.kind = append(g.kind, "structured")
		g.attrs.WriteString(" __structuredAttrs = true; number = 7; list = [ 1 \"b c\" ]; text = \"it's\"; yes = true;")
		g.script.WriteString(". $NIX_ATTRS_SH_FILE; for o in ${!outputs[@]}; do declare $o=${outputs[$o]}; done; for i in ${!deps[@]}; do declare dep$i=${deps[$i]}; done; echo $number $text \"${list[@]}\" $yes;")
	}
	if len(g.outputs) > 1 {
		g.attrs.WriteString(" outputs = [ \"" + strings.Join(g.outputs, "\" \"") + "\" ];")
	}
	g.attrs.WriteString(" deps = [ " + strings.Join(g.deps, " ") + " ];")
	if !g.structured {
		g.script.WriteString("i=0; for d in $deps; do declare dep$i=$d; i=$((i+1)); done;")
	}
	usable := true
	if g.r.IntN(3) == 0 {
		usable = g.address()
	}
	if !slices.Contains(g.kind, "impure") {
		g.files()
		g.log()
	}
	for _, o := range g.outputs {
		g.output(o)
	}
	switch g.r.IntN(10) {
	case 0, 1:
		return g.checks()
	case 2:
		return g.failure()
	}
	return usable
}

// pick adds one of the pieces to the script.
func (g *generated) pick(pieces map[string]string) {
	names := slices.Sorted(maps.Keys(pieces))
	name := names[g.r.IntN(len(names))]
	g.kind = append(g.kind, name)
	g.script.WriteString(" " + pieces[name] + "\n")
}

// files adds passAsFile and exportReferencesGraph.
func (g *generated) files() {
	if g.r.IntN(4) == 0 && !g.structured {
		g.kind = append(g.kind, "passAsFile")
		g.attrs.WriteString(" passAsFile = [ \"large\" \"none\" ]; large = \"a ${placeholder \"out\"} b\"; none = \"\";")
		g.script.WriteString(" cat $largePath; echo; wc -c < $nonePath; echo .attr*;\n")
	}
	if g.r.IntN(4) == 0 && len(g.deps) > 0 {
		g.kind = append(g.kind, "graph")
		if g.structured {
			g.attrs.WriteString(" exportReferencesGraph.graph = [ " + g.deps[0] + " ];")
			g.script.WriteString(" cat .attrs.json;\n")
		} else {
			g.attrs.WriteString(" exportReferencesGraph = [ \"graph\" " + g.deps[0] + " ];")
			g.script.WriteString(" cat graph;\n")
		}
	}
}

func (g *generated) log() {
	g.pick(map[string]string{
		"silent":    ":",
		"lines":     "echo a line; echo another >&2; echo; echo end",
		"many":      "for i in $(seq 40); do echo line $i; done",
		"partial":   "printf 'no line feed'",
		"returns":   `printf '10%%\r50%%\r100%%\n abc\rx\n'`,
		"binary":    `printf 'caf\303\251 \377 \001 a\000b \033[31mred\033[0m\n'`,
		"phase":     `echo '@nix {"action":"setPhase","phase":"unpack"}'; echo unpacking`,
		"message":   `echo '@nix {"action":"msg","level":0,"msg":"from the builder"}'`,
		"download":  `echo '@nix {"action":"start","id":3,"level":0,"type":101,"text":"get x","fields":["x"]}'; echo '@nix {"action":"stop","id":3}'; echo done`,
		"other":     `echo '@nix {"action":"start","id":3,"level":0,"type":105,"text":"no"}'; echo '@nix {"action":"what"}'; echo '@cnix {}'; echo '@nix'`,
		"forms":     `echo '@nix 1'; echo '@nix {}'; echo '@nix {"action":null}'; echo '@nix {"action":123}'; echo '@nix {"action":"msg"}'; echo '@nix []'`,
		"broken":    `echo '@nix ]['; echo '@nix {"action"'`,
		"variables": "env -u _ -u SHLVL -u NIX_BUILD_CORES | sort",
		"place":     "pwd; ls -A; umask; id -u; ulimit -c; tty; cat /proc/self/comm",
		"long":      "printf '%09000d\\n' 7",
		"tabs":      `printf '\ta\tb\n\v\f\bx\n'`,
	})
}

// output makes an output.
func (g *generated) output(name string) {
	o := "$" + name
	pieces := map[string]string{
		"file":     "echo text > $o",
		"empty":    ": > $o",
		"program":  "printf '#!/bin/sh\\n' > $o; chmod 0755 $o",
		"self":     "echo in $o > $o",
		"deps":     "echo $dep0 $dep1 $dep2 > $o",
		"all":      "echo $out $out.x > $o",
		"tree":     "mkdir $o; echo a > $o/a; ln $o/a $o/b; ln -s nowhere $o/l; mkdir $o/d; echo x > $o/d/x; chmod 0711 $o/d/x; chmod 0500 $o/d; touch -d @100 $o/a",
		"modes":    "mkdir $o; for m in 0000 0200 0400 0444 0600 0640 0601 0777; do echo $m > $o/$m; chmod $m $o/$m; done; mkdir -m 0777 $o/dir; chmod 0500 $o",
		"link":     "ln -s /etc/passwd $o",
		"selflink": "mkdir $o; ln -s $o/x $o/y; ln -s $dep0/z $o/z",
		"names":    `mkdir $o; echo > "$o/$(printf 'n\377\n')"; echo > $o/B; echo > $o/a; echo > $o/a.b; mkdir $o/a-b; echo > "$o/ x"`,
		"sparse":   "truncate -s 300000 $o; echo $dep0 >> $o",
		"deep":     "mkdir -p $o/1/2/3/4/5/6/7/8/9; ln $o/1/../../$(basename $o)/1/x $o/y 2>/dev/null; echo $dep0$dep1 > $o/1/2/3/4/5/6/7/8/9/f",
		"upper":    "echo $dep0 | tr a-z A-Z > $o; basename $o | cut -c1-32 >> $o",
	}
	for kind, text := range pieces {
		pieces[kind] = strings.ReplaceAll(text, "$o", o)
	}
	g.pick(pieces)
}

// checks adds conditions for outputs, and reports that the build may fail.
func (g *generated) checks() bool {
	var dep string
	if len(g.deps) > 0 {
		dep = g.deps[0]
	}
	conditions := []string{"allowedReferences = [ ]", "allowedReferences = [ \"out\" ]", "disallowedReferences = [ " + dep + " ]", "allowedRequisites = [ " + dep + " ]", "disallowedRequisites = [ " + dep + " \"out\" ]", "allowedReferences = [ \"nope\" ]"}
	if g.structured {
		conditions = append(conditions, "maxSize = 1", "maxSize = 100000", "maxClosureSize = 200", "ignoreSelfRefs = true; allowedReferences = [ ]")
	}
	c := conditions[g.r.IntN(len(conditions))]
	g.kind = append(g.kind, c)
	if g.structured {
		c = "outputChecks.out = { " + c + "; }"
	}
	g.attrs.WriteString(" " + c + ";")
	return false
}

// failure makes the build fail.
func (g *generated) failure() bool {
	g.pick(map[string]string{
		"exit7":      "exit 7",
		"exit255":    "exit 255",
		"term":       "kill -TERM $BASHPID; exit 3",
		"subkill":    "exec 2>/dev/null; (kill -9 $BASHPID); exit $?",
		"segv":       "exec 2>/dev/null; bash -c 'kill -SEGV $$'; exit $?",
		"missing":    "rm -rf $out; exit 0",
		"writable":   "rm -rf $out; mkdir $out; chmod 0777 $out",
		"nothing":    "exit 1",
		"sleep":      "exec sleep 100",
		"closed":     "exec >/dev/null 2>&1; exec sleep 100",
		"background": "sleep 100 >/dev/null 2>&1 & exit 0",
		"longlog":    "for i in $(seq 60); do echo line $i; done; exit 2",
	})
	return false
}

// strange makes a derivation that no build accepts, or that few have.
func (g *generated) strange() bool {
	g.outputs = g.outputs[:1]
	attrs := map[string]string{
		"noprogram":   `builder = "/nope";`,
		"directory":   `builder = "/usr";`,
		"notexec":     `builder = "/etc/passwd";`,
		"relative":    `builder = "bash";`,
		"file":        `builder = builtins.toFile "b" "no program";`,
		"builtin":     `system = "builtin"; builder = "builtin:nope";`,
		"nourl":       `system = "builtin"; builder = "builtin:fetchurl";`,
		"noenv":       `system = "builtin"; builder = "builtin:buildenv";`,
		"nochannel":   `system = "builtin"; builder = "builtin:unpack-channel"; src = "/nope"; channelName = "x";`,
		"system":      `system = "riscv64-linux";`,
		"feature":     `requiredSystemFeatures = [ "nope" "benchmark" "other" ];`,
		"noChroot":    `__noChroot = true;`,
		"hostDeps":    `__impureHostDeps = [ "/etc/shadow" ];`,
		"cycle":       `outputs = [ "out" "dev" ]; args = [ "-c" "echo $dev > $out; echo $out > $dev" ];`,
		"passNothing": `passAsFile = [ "nope" ];`,
		"passOut":     `passAsFile = [ "out" "name" ];`,
		"newlines":    `a = "x\ny\n"; "b c" = "1"; "d=e" = "2"; args = [ "-c" "env -0 | sort -z | tr '\\0' '\\n' | grep -v CORES; echo $0 $1; : > $out" "" "a\nb" ];`,
		"noargs":      `args = [ ];`,
		"stdin":       `args = [ "-c" "cat; read x; echo $?; ls -l /proc/self/fd | wc -l; : > $out" ];`,
		"home":        `args = [ "-c" "cd; echo $?; ls -d ~ /homeless-shelter; : > $out" ];`,
		"limits":      `args = [ "-c" "ulimit -a | grep -v 'pending signals\\|open files\\|pipe size'; : > $out" ];`,
		"lateChange":  `args = [ "-c" "mkdir $out; (sleep 0.3; echo late > $out/late) & exit 0" ];`,
		"moreFiles":   `args = [ "-c" ": > $out; : > $out.lock; mkdir $out.tmp; : > $out-x" ];`,
		"badHash":     `outputHashAlgo = "sha256"; outputHash = "0000000000000000000000000000000000000000000000000000"; args = [ "-c" "sleep 0.1; echo wrong > $out" ];`,
		"preferLocal": `preferLocalBuild = true; allowSubstitutes = false; args = [ "-c" "echo yes; : > $out" ];`,
		"discard":     `__structuredAttrs = true; unsafeDiscardReferences.out = true; args = [ "-c" ". $NIX_ATTRS_SH_FILE; echo \${outputs[out]} > \${outputs[out]}" ];`,
		"checksAll":   `__structuredAttrs = true; outputChecks.nope.maxSize = 1; args = [ "-c" ". $NIX_ATTRS_SH_FILE; : > \${outputs[out]}" ];`,
		"oldChecks":   `__structuredAttrs = true; allowedReferences = [ ]; args = [ "-c" ". $NIX_ATTRS_SH_FILE; echo \${outputs[out]} > \${outputs[out]}" ];`,
		"graphList":   `__structuredAttrs = true; exportReferencesGraph = [ "graph" "x" ]; args = [ "-c" ". $NIX_ATTRS_SH_FILE; : > \${outputs[out]}" ];`,
		"emptyFixed":  `outputHashMode = "recursive"; outputHashAlgo = "sha256"; outputHash = ""; args = [ "-c" ": > $out" ];`,
	}
	kinds := slices.Sorted(maps.Keys(attrs))
	kind := kinds[g.r.IntN(len(kinds))]
	g.kind = append(g.kind, kind)
	g.attrs.WriteString(" " + attrs[kind])
	g.script.WriteString("env | grep nope; : > $out")
	return false
}

// fixed makes a derivation with a fixed output.
func (g *generated) fixed() bool {
	algorithm := []string{"sha256", "sha512", "sha1", "md5"}[g.r.IntN(4)]
	text := fmt.Sprintf("text %d", g.r.IntN(1000))
	g.outputs = g.outputs[:1]
	g.kind = append(g.kind, "fixed", algorithm)
	g.attrs.WriteString(" deps = [ " + strings.Join(g.deps, " ") + " ]; impureEnvVars = [ \"FOO\" \"TERM\" ]; outputHashAlgo = \"" + algorithm + "\"; outputHash = builtins.hashString \"" + algorithm + "\" \"" + text + "\";")
	if g.r.IntN(3) == 0 {
		g.attrs.WriteString(" outputHashMode = \"recursive\";")
		g.pick(map[string]string{"nartree": "mkdir $out; echo $deps > $out/x", "narfile": "printf '" + text + "' > $out"})
		return false
	}
	g.log()
	pieces := map[string]string{"right": "printf '" + text + "' > $out"}
	if g.r.IntN(2) == 0 {
		pieces = map[string]string{
			"wrong": "printf wrong > $out", "depend": "echo $deps $out > $out", "dir": "mkdir $out", "exec": "printf '" + text + "' > $out; chmod +x $out",
			"symlink": "ln -s x $out", "exit1": "echo sorry; exit 1", "none": ":", "environ": "echo $FOO $TERM $NIX_OUTPUT_CHECKED; printf '" + text + "' > $out",
		}
	}
	g.pick(pieces)
	return slices.Contains(g.kind, "right")
}
