package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"pix/internal/realnix"
)

// A build is an expression of derivations. Both daemons build it with the same client, shell, build users and sandbox.
type build struct {
	text, expression, jobs string
}

func chainBuild(l *lab) build {
	n := l.size(25, 100)
	return build{count(n+1) + " builds one after the other",
		fmt.Sprintf(`let f = i: d "c${toString i}" "echo x > $out" (if i == 0 then "" else f (i - 1)); in f %d`, n), "1"}
}

func wideBuild(l *lab) build {
	n := l.size(100, 500)
	return build{count(n) + " builds, two at once", fmt.Sprintf(`builtins.genList (i: d "w${toString i}" "echo x > $out" "") %d`, n), "2"}
}

func filesBuild(l *lab) build {
	n := l.size(5000, 20_000)
	script := fmt.Sprintf(`/usr/bin/mkdir $out; i=0; while [ $i -lt %d ]; do echo $i > $out/$i; i=$((i+1)); done`, n)
	return build{count(n) + " files", `d "files" ''` + script + `'' ""`, "1"}
}

// buildConfig is the configuration of both daemons.
var buildConfig = map[string]string{
	"sandbox":           "true",
	"sandbox-paths":     "/bin/sh=/usr/bin/bash-static /usr /lib /lib64",
	"build-users-group": "nixbld",
}

// buildRow returns a row that builds new derivations in each round.
func buildRow(of func(*lab) build) func(*lab, *scope) work {
	return func(l *lab, t *scope) work {
		if os.Geteuid() != 0 {
			t.Fatal("only root builds as other users")
		}
		b, suite := of(l), realnix.Get(t, "sid")
		nix := realnix.Start(t, suite, &realnix.Options{Config: buildConfig})
		pix := realnix.Start(t, suite, &realnix.Options{Program: l.bin + "/pix", Args: []string{"daemon"}, Config: buildConfig, Env: []string{"NIX_STATE_DIR=/nix/var/nix"}})
		pix.Kill()
		l.install(t, pix) // pix-sandbox beside pix, as a release has it
		pix.Restart()
		return work{b.text, []contender{b.contender("pix", pix), b.contender("Nix", nix)}}
	}
}

// contender builds with a daemon.
func (b build) contender(name string, d *realnix.Daemon) contender {
	return contender{name, func(round int) (measure, error) {
		if err := b.instantiate(d, round); err != nil {
			return measure{}, err
		}
		return measureProcesses(d.Processes, func() error {
			return shell(d, "nix-store --realise -j"+b.jobs+" $(cat /tmp/drvs)")
		})
	}}
}

// instantiate writes derivations that no earlier round has built, and their paths to /tmp/drvs.
func (b build) instantiate(d *realnix.Daemon, round int) error {
	text := fmt.Sprintf(`let d = name: script: dep: derivation { inherit name dep; round = %d; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script ]; }; in %s`, round, b.expression)
	if err := os.WriteFile(d.HostPath("/tmp/build.nix"), []byte(text), 0o644); err != nil {
		return err
	}
	return shell(d, "nix-instantiate /tmp/build.nix > /tmp/drvs")
}

// shell runs a command with Nix's programs as clients of the daemon.
func shell(d *realnix.Daemon, command string) error {
	_, err := d.Command(context.Background(), "sh", "-c", command).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
	}
	return err
}
