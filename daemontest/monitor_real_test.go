package daemontest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"pix/daemontest"
	"pix/internal/realnix"
)

// buildNix is an expression with builds that write lines to their logs. The last one fails.
const buildNix = `
let make = name: attrs: script: derivation ({ inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script ]; } // attrs);
in rec {
  lib = make "lib" { src = ./dir; outputs = [ "out" "dev" ]; } "echo building lib; read line < $src/a; echo $line > $out; echo dev > $dev";
  app = make "app" { text = builtins.toFile "text" "a text"; } "echo building app; read line < ${lib}; echo $line of ${lib.dev} > $out";
  fails = make "fails" { } "echo this fails; exit 3";
}
`

// The recording of a stock nix-build through a monitor can be replayed: a lone client sends the same,
// and prints the same. Without -o, old clients send the name of a temporary link, which contains their
// process id.
func TestReplayBuilds(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		client := &side{t: t, d: d}
		client.prepare()
		client.write(d.HostPath("/tmp/w/build.nix"), buildNix, 0o644)
		for i, command := range []string{
			"nix-build -o /tmp/w/result /tmp/w/build.nix -A app",
			"nix-build -o /tmp/w/result /tmp/w/build.nix -A fails",
			"nix-build -o /tmp/w/result --dry-run /tmp/w/build.nix -A fails",
			"nix-build -o /tmp/w/result /tmp/w/build.nix -A lib -A lib.dev -A app",
		} {
			bodies := i%2 == 1 || olderThan(s.Version, "2.4") // AddTextToStore of old clients has no hash in a recording
			m := startMonitorOf(t, d.Socket, d.HostPath("/tmp/recorded.sock"), bodies)
			want := runBuild(t, d, "/tmp/recorded.sock", command)
			m.stop()
			for _, e := range m.events {
				if e.Raw != nil || e.Failure != nil {
					t.Errorf("%v", e)
				}
			}
			t.Run(command, func(t *testing.T) {
				recording, err := os.Open(m.record)
				if err != nil {
					t.Fatal(err)
				}
				defer recording.Close()
				daemontest.Replay(t, recording, nil).ListenOn(d.HostPath("/tmp/replayed.sock"))
				defer os.Remove(d.HostPath("/tmp/replayed.sock"))
				if got := runBuild(t, d, "/tmp/replayed.sock", command); got != want {
					t.Errorf("%s prints when replayed:\n%s\nand when recorded:\n%s", command, got, want)
				}
			})
		}
	})
}

// runBuild returns the output and the exit code of a command that uses a socket.
func runBuild(t *testing.T, d *realnix.Daemon, socket, command string) string {
	t.Helper()
	cmd := d.Command(context.Background(), "sh", "-c", command+" 2>&1; echo exit code $?")
	cmd.Env = append(cmd.Env, "NIX_REMOTE=unix://"+socket)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return normal(string(out))
}
