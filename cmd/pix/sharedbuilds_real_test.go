package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/realnix"
)

// The daemons of pix and of Nix build the same derivations at once into one store, while Nix collects garbage. Each is built
// once, or twice if a collector has deleted its output in between, and all outputs are valid at the end.
func TestTwoDaemonsBuild(t *testing.T) {
	count, worlds := 20, []string{"users"}
	if os.Geteuid() != 0 {
		worlds = []string{"boxed"}
	}
	if os.Getenv("PIX_LONG") != "" {
		count, worlds = 200, append(worlds, "open")
	}
	for _, world := range worlds {
		t.Run(world, func(t *testing.T) {
			config := maps.Clone(buildWorlds[world])
			config["max-jobs"], config["build-poll-interval"] = "3", "1"
			if config["sandbox"] == "true" {
				config["sandbox-paths"] += " /tmp/count"
			}
			d := startPix(t, config)
			startSecond(t, d)
			roots := buildTwice(t, d, shareExpression(rand.New(rand.NewPCG(3, 4)), count))
			checkShared(t, d, roots, count)
		})
	}
}

// otherSocket is the socket of the second daemon.
const otherSocket = "/nix/var/nix/daemon-socket/second"

// startSecond starts Nix's own daemon in the world of another, on the same store.
func startSecond(t *testing.T, d *realnix.Daemon) {
	t.Helper()
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := d.Command(ctx, "nix-daemon")
	cmd.Env = append(cmd.Env, "NIX_REMOTE=local", "NIX_DAEMON_SOCKET_PATH="+otherSocket)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(d.HostPath(otherSocket)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("Nix's daemon does not start")
		}
	}
}

// shareExpression returns derivations that depend on each other. Each notes that it was built.
func shareExpression(r *rand.Rand, count int) string {
	var text strings.Builder
	text.WriteString("let\n")
	for i := range count {
		var deps []string
		for range min(i, r.IntN(4)) {
			deps = append(deps, fmt.Sprintf("d%d", r.IntN(i)))
		}
		fmt.Fprintf(&text, ` d%d = derivation { name = "d%[1]d"; system = builtins.currentSystem; builder = "/usr/bin/bash"; PATH = "/usr/bin"; outputs = [ "out" "dev" ]; deps = [ %[2]s ];
   args = [ "-c" "trap : EXIT; echo built >> /tmp/count/d%[1]d; mkdir $out; echo $deps $dev > $out/x; for i in $(seq %[3]d); do echo $i > $out/$i; done; echo dev > $dev" ]; };
`, i, strings.Join(deps, " "), r.IntN(30))
	}
	text.WriteString("in [")
	for _, i := range r.Perm(count) {
		fmt.Fprintf(&text, " d%d", i)
	}
	text.WriteString(" ]\n")
	return text.String()
}

// buildTwice lets clients of both daemons build, while Nix collects, and returns the roots that they have made.
func buildTwice(t *testing.T, d *realnix.Daemon, expression string) []string {
	t.Helper()
	if err := os.WriteFile(d.HostPath("/tmp/shared.nix"), []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/tmp/count", "/tmp/drvs", "/tmp/pix", "/tmp/nix"} {
		if err := os.Mkdir(d.HostPath(dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(d.HostPath("/tmp/count"), 0o777); err != nil {
		t.Fatal(err)
	}
	d.MustRun(t, "nix-instantiate", "/tmp/shared.nix", "--add-root", "/tmp/drvs/drv", "--indirect")
	drvs := d.MustRun(t, "sh", "-c", "readlink /tmp/drvs/*")
	commands := map[string]string{"pix": "NIX_REMOTE=daemon", "nix": "NIX_REMOTE=unix://" + otherSocket}
	var building, collecting sync.WaitGroup
	for name, env := range commands {
		building.Go(func() {
			// Several derivations a call, so that clients come and go, and their temporary roots with them.
			a := runAnswer(t, &d.Client, env, "set -e; n=0; echo '"+drvs+"' | xargs -n 7 | while read some; do n=$((n+1)); nix-store --realise $some --add-root /tmp/"+name+"/$n --indirect; done")
			if a.Code != 0 {
				t.Errorf("the client of %s: %s", name, a.Stderr)
			}
		})
	}
	done := make(chan struct{})
	collecting.Go(func() {
		for {
			if a := runAnswer(t, &d.Client, "NIX_REMOTE=local", "nix-store --gc --quiet"); a.Code != 0 {
				t.Errorf("the collector: %s", a.Stderr)
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	building.Wait()
	close(done)
	collecting.Wait()
	return strings.Fields(d.MustRun(t, "sh", "-c", "readlink /tmp/pix/* /tmp/nix/*"))
}

// checkShared checks the store, the roots and how often each derivation was built.
func checkShared(t *testing.T, d *realnix.Daemon, roots []string, count int) {
	t.Helper()
	paths := map[string]int{}
	for _, root := range roots {
		paths[root]++
	}
	if len(paths) != 2*count {
		t.Errorf("%d outputs have roots, want %d", len(paths), 2*count)
	}
	for path, n := range paths {
		if n != 2 {
			t.Errorf("%s has %d roots", path, n)
		}
	}
	for path := range paths {
		if a := runAnswer(t, &d.Client, "NIX_REMOTE=local", "nix-store --check-validity "+path); a.Code != 0 {
			t.Errorf("%s is lost: %s", path, a.Stderr)
		}
	}
	a := runAnswer(t, &d.Client, "NIX_REMOTE=local", "nix-store --verify --check-contents 2>&1")
	if a.Code != 0 || strings.Contains(a.Stdout, "error") || strings.Contains(a.Stdout, "disappeared") || strings.Contains(a.Stdout, "modified") {
		t.Errorf("Nix finds errors:\n%s", a.Stdout)
	}
	twice := 0
	for i := range count {
		text, err := os.ReadFile(d.HostPath(fmt.Sprintf("/tmp/count/d%d", i)))
		n := bytes.Count(text, []byte("built"))
		if err != nil || n < 1 || n > 2 {
			t.Errorf("d%d was built %d times, %v", i, n, err)
		}
		twice += max(0, n-1)
	}
	byNix, err := filepath.Glob(d.HostPath("/nix/var/log/nix/drvs/*/*.drv.bz2"))
	byPix, pixErr := filepath.Glob(d.HostPath("/nix/var/log/nix/drvs/*/*.drv"))
	if err != nil || pixErr != nil || len(byNix) == 0 || len(byPix) == 0 {
		t.Errorf("Nix has written %d logs, pix %d: %v, %v", len(byNix), len(byPix), err, pixErr)
	}
	t.Logf("%d of %d derivations were built twice; Nix has built %d, pix %d", twice, count, len(byNix), len(byPix))
	checkLeftovers(t, d)
}

// checkLeftovers checks that builds have left neither directories nor locks.
func checkLeftovers(t *testing.T, d *realnix.Daemon) {
	t.Helper()
	for _, dir := range []string{"/nix/store", "/nix/var/nix/builds"} {
		entries, err := os.ReadDir(d.HostPath(dir))
		if err != nil {
			if !os.IsNotExist(err) {
				t.Error(err)
			}
			continue
		}
		for _, e := range entries {
			name := e.Name()
			if dir != "/nix/store" || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".chroot") {
				t.Errorf("%s is left", filepath.Join(dir, name))
			}
		}
	}
}
