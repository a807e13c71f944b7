package main

import (
	"os"
	"testing"

	"pix/internal/realnix"
)

// commandBlocks are sequences of commands whose messages and files must be the same with the daemons of Nix and of pix. They
// repeat the recordings nix-2.34.8-check-ca-keep.txt, nix-2.34.8-builtins-hooks.txt and nix-2.34.8-kill.txt of Nix 2.34.8.
// The trap keeps the shell alive to the end: Nix may kill a program that closes its output before it exits. Files of locks do not
// count, nor outputs of failed builds: Nix leaves them in the store.
var commandBlocks = []struct{ name, expression, script string }{
	{"one of two outputs", `make { name = "po"; outputs = [ "out" "dev" ]; args = [ "-c" "trap : EXIT; echo out=$out dev=$dev; echo x > $out; echo y > $dev" ]; }`, `
		nix-store -r $drv
		nix-store --delete $(nix-store -q --binding dev $drv)
		nix-store -r $drv; echo $?
		nix path-info --all`},
	{"check", `make { name = "nd"; args = [ "-c" "trap : EXIT; echo building out=$out; echo $RANDOM$RANDOM > $out" ]; }`, `
		nix-store -r $drv
		nix-store -r --check $drv; echo $?
		nix path-info --all
		nix-store -r --check -K $drv; echo $?
		find /nix/store -mindepth 1 -printf '%M %u %P\n' | sort | grep -v lock; find /nix/var/nix/builds -printf '%M %u %P\n' | grep -v /outputs
		nix-store -r --check -K $drv; echo $?
		nix path-info --all
		nix-store --verify --check-contents; echo $?`},
	{"check of outputs that are not valid", `make { name = "cn"; args = [ "-c" "echo x > $out" ]; }`, `
		nix-store -r --check $drv; echo $?
		nix path-info --all`},
	{"check after a failure", `make { name = "cf"; args = [ "-c" "trap : EXIT; [ ! -e /tmp/fail ] || exit 3; echo x > $out" ]; }`, `
		nix-store -r $drv; touch /tmp/fail
		nix-store -r --check $drv; echo $?
		rm /tmp/fail; nix-store -r --check $drv; echo $?
		nix path-info --all`},
	{"keep failed", `make { name = "kf"; passAsFile = [ "text" ]; text = "a text"; args = [ "-c" "trap : EXIT; echo x > $out; echo y > f; mkdir -m 0700 d; exit 1" ]; }`, `
		nix-store -r -K $drv; echo $?
		find /nix/var/nix/builds -printf '%M %u %g %P\n' | sort | grep -v /outputs`},
	{"floating outputs", `make { name = "caf"; outputs = [ "out" "dev" ]; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; args = [ "-c" "trap : EXIT; echo SCRATCH $out $dev; echo $out > $dev; echo $out > $out" ]; }`, `
		nix-store -r $drv
		nix-store -q --outputs $drv; nix-store -q --binding out $drv
		nix realisation info --json $drv^out $drv^dev
		nix-store -r --check $drv; echo $?
		for p in $(nix-store -r $drv); do nix-store -q --references $p; nix-store -q --deriver $p; nix path-info --json $p | tr , '\n' | grep '"ca"'; done
		nix path-info --all`},
	{"impure outputs", `make { name = "imp"; __impure = true; args = [ "-c" "trap : EXIT; echo building; echo x > $out" ]; }`, `
		nix-store -r $drv; nix-store -r $drv
		nix path-info --all`},
	{"downloads", `map (url: derivation { name = "f"; system = "builtin"; builder = "builtin:fetchurl"; inherit url; outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashAlgo = "sha256"; outputHashMode = "flat"; preferLocalBuild = true; }) [ "file:///tmp/none" "file:///tmp/blocks.nix" ]`, `
		for d in $drv; do nix-store -r $d; echo $?; done
		nix path-info --all`},
	{"channels", `derivation { name = "chan"; system = "builtin"; builder = "builtin:unpack-channel"; channelName = "nixos"; src = builtins.path { path = /tmp/channel.tar; name = "channel.tar"; }; }`, `
		nix-store -r $drv; find $(nix-store -q --outputs $drv) -printf '%M %P %l\n' | sort`},
	{"environments", `let a = make { name = "a"; args = [ "-c" "mkdir -p $out/bin $out/share; echo a > $out/bin/one; echo a > $out/share/x; trap : EXIT" ]; };
		 b = make { name = "b"; args = [ "-c" "mkdir -p $out/bin $out/share; echo b > $out/bin/one; echo b > $out/share/y; trap : EXIT" ]; };
		 c = make { name = "c"; args = [ "-c" "mkdir -p $out/lib; ln -s nowhere $out/lib/dangling; trap : EXIT" ]; };
		 env = priorities: derivation { name = "env"; system = "builtin"; builder = "builtin:buildenv"; manifest = builtins.toFile "m" "[]"; derivations = map (x: [ "true" (toString x.p) 1 x.d ]) (priorities ++ [ { p = 1; d = c; } ]); };
		in [ (env [ { p = 5; d = a; } { p = 5; d = b; } ]) (env [ { p = 4; d = a; } { p = 5; d = b; } ]) (env [ { p = 6; d = a; } { p = 5; d = b; } ]) ]`, `
		for d in $drv; do nix-store -r $d; echo $?; done
		for d in $drv; do p=$(nix-store -q --outputs $d); nix-store --check-validity $p 2> /dev/null && find $p -printf '%M %P %l\n' | sort; done`},
	{"another platform", `derivation { name = "i6"; system = "i686-linux"; builder = "/usr/bin/bash"; PATH = "/usr/bin"; args = [ "-c" "trap : EXIT; cat /proc/self/personality; uname -m; echo x > $out" ]; }`, `
		nix-store -r $drv; nix-store -r --option extra-platforms x86_64-linux $drv; echo $?`},
	{"a process in the background", `make { name = "bg"; args = [ "-c" "trap : EXIT; cp /usr/bin/sleep doze; ./doze 1000 & echo started; echo x > $out" ]; }`, `
		nix-store -r $drv; echo $?
		while grep -qs '^doze' /proc/[0-9]*/comm; do sleep 0.1; done`},
	{"an interrupted client", `make { name = "slow"; args = [ "-c" "trap : EXIT; echo x > $out; echo started; cp /usr/bin/sleep doze; ./doze 1000" ]; }`, `
		env --default-signal=INT nix-store -r $drv 2> /tmp/errors & client=$!
		until grep -qs started /tmp/errors; do sleep 0.1; done
		kill -INT $client; wait $client; echo $?; cat /tmp/errors
		while grep -qs '^doze' /proc/[0-9]*/comm; do sleep 0.1; done
		nix path-info --all`},
	{"outputs with a hard link between them", `make { name = "hl"; outputs = [ "out" "dev" ]; args = [ "-c" "trap : EXIT; echo x > $out; ln $out $dev" ]; }`, `
		nix-store -r $drv; echo $?; nix path-info --all`},
	{"an input that is written", `make { name = "wi"; i = make { name = "inp"; args = [ "-c" "trap : EXIT; echo x > $out" ]; }; args = [ "-c" "trap : EXIT; { echo y > $i; chmod +w $i; } 2> /dev/null; cat $i > $out" ]; }`, `
		nix-store -r $drv; echo $?; cat $(nix-store -q --outputs $drv)`},
}

// The commands of each block have the same messages and results with the daemon of pix as with the daemon of Nix 2.34.
func TestCommandBlocks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root builds as other users")
	}
	config := map[string]string{
		"sandbox": "true", "sandbox-paths": "/bin/sh=/usr/bin/bash-static /usr /lib /lib64", "build-users-group": "nixbld",
		"experimental-features": kindFeatures,
	}
	for _, block := range commandBlocks {
		t.Run(block.name, func(t *testing.T) {
			t.Parallel()
			want := runBlock(t, realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: config}), block.expression, block.script)
			got := runBlock(t, startPix(t, config), block.expression, block.script)
			if diff := diffAnswers(want, got); diff != "" {
				t.Errorf("(-nix +pix):\n%s\nNix:\n%s\npix:\n%s", diff, want.Stdout, got.Stdout)
			}
		})
	}
}

// runBlock instantiates an expression, and runs a script with the derivations in the variable drv.
func runBlock(t *testing.T, d *realnix.Daemon, expression, script string) answer {
	t.Helper()
	text := `let make = attrs: derivation ({ system = builtins.currentSystem; builder = "/usr/bin/bash"; PATH = "/usr/bin"; } // attrs); in ` + expression
	if err := os.WriteFile(d.HostPath("/tmp/blocks.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d.MustRun(t, "sh", "-c", "mkdir -p /tmp/src/nixos && echo x > /tmp/src/nixos/file && tar cf /tmp/channel.tar -C /tmp/src --mtime=@1 --owner=0 --group=0 nixos")
	return runAnswer(t, &d.Client, "", "exec 2>&1; umask 022; drv=$(nix-instantiate /tmp/blocks.nix 2> /dev/null) || exit 99\n"+script)
}
