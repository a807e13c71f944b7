package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pix/internal/realnix"
)

// BenchmarkBuilds builds the same derivations with the daemons of Nix and of pix, one after the other, and reports the medians of
// the elapsed time and of the processor time of each daemon with its builders, and their ratios. Both use the same client, shell,
// build users and sandbox. Run it as root:
//
//	go test ./cmd/pix -run '^$' -bench Builds -benchtime 5x
func BenchmarkBuilds(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("only root builds as other users")
	}
	const sizes = `/usr/bin/mkdir $out; i=0; while [ $i -lt 20000 ]; do echo $i > $out/$i; i=$((i+1)); done`
	// A loop of the shell takes 11 s of processor time to write such a file, and hides what the daemons take.
	const large = `/usr/bin/dd if=/dev/zero of=$out bs=1M count=1024 2> /dev/null`
	for _, test := range []struct{ name, expression, jobs string }{
		{"chain101", `let f = i: d "c${toString i}" "echo x > $out" (if i == 0 then "" else f (i - 1)); in f 100`, "1"},
		{"wide500", `builtins.genList (i: d "w${toString i}" "echo x > $out" "") 500`, "2"},
		{"files20000", `d "files" ''` + sizes + `'' ""`, "1"},
		{"gigabyte", `d "large" ''` + large + `'' ""`, "1"},
	} {
		b.Run(test.name, func(b *testing.B) { compareSpeed(b, test.expression, test.jobs) })
	}
}

// A contestant is a daemon with its measurements.
type contestant struct {
	*realnix.Daemon
	wall, cpu []float64 // in seconds
	peak      float64   // the resident memory of the daemon, in megabytes
}

func compareSpeed(b *testing.B, expression, jobs string) {
	config := map[string]string{"sandbox": "true", "sandbox-paths": "/bin/sh=/usr/bin/bash-static /usr /lib /lib64", "build-users-group": "nixbld"}
	program, err := staticPix()
	if err != nil {
		b.Fatal(err)
	}
	suite := realnix.Get(b, "sid")
	contestants := []*contestant{
		{Daemon: realnix.Start(b, suite, &realnix.Options{Config: config})},
		{Daemon: realnix.Start(b, suite, &realnix.Options{Program: program, Args: []string{"daemon"}, Config: config, Env: []string{"NIX_STATE_DIR=/nix/var/nix"}})},
	}
	installHelper(b, contestants[1].Daemon)
	round := 0
	for b.Loop() {
		for _, c := range contestants {
			c.measure(b, expression, jobs, round)
		}
		round++
	}
	nix, pix := contestants[0], contestants[1]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(nix.wall), "nix-s")
	b.ReportMetric(median(pix.wall), "pix-s")
	b.ReportMetric(median(pix.wall)/median(nix.wall), "wall-ratio")
	b.ReportMetric(median(nix.cpu), "nix-cpu-s")
	b.ReportMetric(median(pix.cpu), "pix-cpu-s")
	b.ReportMetric(median(pix.cpu)/median(nix.cpu), "cpu-ratio")
	b.ReportMetric(pix.peak, "pix-MB")
}

// installHelper installs pix-sandbox beside pix, as a release does, and starts the daemon again.
func installHelper(b *testing.B, d *realnix.Daemon) {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", d.HostPath("/root/pix-sandbox"), "../pix-sandbox")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	d.Restart()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// measure builds an expression whose derivations are all new.
func (c *contestant) measure(b *testing.B, expression, jobs string, round int) {
	text := fmt.Sprintf(`let d = name: script: dep: derivation { inherit name dep; round = %d; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script ]; }; in %s`, round, expression)
	if err := os.WriteFile(c.HostPath("/tmp/speed.nix"), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	c.MustRun(b, "sh", "-c", "nix-instantiate /tmp/speed.nix > /tmp/drvs")
	before, start := c.processorTime(b), time.Now()
	c.MustRun(b, "sh", "-c", "nix-store --realise -j"+jobs+" $(cat /tmp/drvs) > /tmp/outputs 2> /tmp/errors || { cat /tmp/errors >&2; exit 1; }")
	c.wall = append(c.wall, time.Since(start).Seconds())
	c.cpu = append(c.cpu, c.processorTime(b)-before)
	c.MustRun(b, "sh", "-c", "nix-store --delete $(cat /tmp/outputs) > /dev/null 2>&1 || true")
}

// processorTime returns the processor time of all processes of the daemon, and of those that they have waited for, in seconds. It
// notes the peak of their memory.
func (c *contestant) processorTime(b *testing.B) (seconds float64) {
	for _, pid := range c.Processes() {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime
			ticks, err := strconv.ParseFloat(string(field), 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += ticks / 100
		}
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var kilobytes float64
		if _, err := fmt.Sscan(rest, &kilobytes); err == nil {
			c.peak = max(c.peak, kilobytes/1024)
		}
	}
	return seconds
}
