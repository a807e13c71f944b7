package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/latency"
	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// layers returns n objects in the shape of the closure of a system, with the root at the end. There are at most forty layers;
// objects refer to objects in lower layers. Most objects are small, and a few are large.
func layers(n int) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		random := rand.New(rand.NewPCG(3, 4))
		width := max(10, n/40)
		var all []storepath.Path
		for i := range n {
			size := 1 + random.IntN(30_000)
			if i%100 == 50 {
				size = 2_000_000
			}
			var refs []storepath.Path
			if lower := i - i%width; lower > 0 {
				refs = append(refs, all[lower-1-random.IntN(width)])
				for range random.IntN(8) {
					refs = append(refs, all[random.IntN(lower)])
				}
			}
			if i == n-1 {
				refs = slices.Clone(all[max(0, i-2*width):])
			}
			slices.Sort(refs)
			archive, info, err := fileArchive(strings.Repeat(fmt.Sprintf("%d %d\n", i, size), 1+size/10))
			if err == nil {
				info.Path, err = storepath.DefaultDir.Parse(fmt.Sprintf("/nix/store/%032d-object-%d.%d", i, i, random.IntN(9)))
			}
			info.References = slices.Compact(refs)
			all = append(all, info.Path)
			if !yield(store.Import{Info: info, NAR: archive}, err) {
				return
			}
		}
	}
}

// addLayers adds the objects of layers to the store of a daemon, and returns the root.
func addLayers(t testing.TB, d *realnix.Daemon, n int) storepath.Path {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.AddMultipleToStore(t.Context(), n, layers(n), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	var root storepath.Path
	for object, err := range layers(n) {
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, object.NAR)
		root = object.Info.Path
	}
	return root
}

// pix and Nix copy a closure between two daemons with a latency of 10 ms in each direction. With 300 paths the ratio is only
// logged, because other tests run at the same time; with PIX_LONG=1 it is checked for 2,000 paths, which takes a
// minute. Nix has an advantage: it reads archives from the store directory, and only queries the daemon for infos.
func TestRealCopySpeed(t *testing.T) {
	const maxRatio = 0.2
	n, checked := 300, os.Getenv("PIX_LONG") == "1"
	if checked {
		n = 2000
	}
	sid := realnix.Get(t, "sid")
	src, ours, theirs := realnix.Start(t, sid, nil), realnix.Start(t, sid, nil), realnix.Start(t, sid, nil)
	root := addLayers(t, src, n)
	const delay = 10 * time.Millisecond
	for name, d := range map[string]*realnix.Daemon{"src": src, "ours": ours, "theirs": theirs} {
		latency.Proxy(t, src.HostPath("/tmp/"+name), d.Socket, delay)
	}

	start := time.Now()
	cmd := exec.Command("pix", "--store", "unix://"+src.HostPath("/tmp/src"), "copy", "--no-check-sigs", "--to", "unix://"+src.HostPath("/tmp/ours"), string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pix := time.Since(start)
	memory := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10 // MiB

	limit := 5 * pix // more is not needed to know that the ratio is low enough
	if testing.Verbose() {
		limit = time.Hour
	}
	start = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	nix := src.Command(ctx, "nix", "copy", "--no-check-sigs", "--from", "unix:///tmp/src", "--to", "unix:///tmp/theirs", string(root))
	out, err := nix.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ratio := pix.Seconds() / time.Since(start).Seconds()
	t.Logf("%d paths: pix %v, Nix %v, ratio %.3f; pix takes %d MiB", n, pix, time.Since(start), ratio, memory)
	if checked && ratio > maxRatio {
		t.Errorf("pix takes %.2f times as long as Nix", ratio)
	}
	if checked && memory >= 100 {
		t.Errorf("pix takes %d MiB", memory)
	}
	got := ours.MustRun(t, "nix-store", "--query", "--requisites", string(root))
	if lines := strings.Count(got, "\n"); lines < n/2 {
		t.Errorf("%d paths were copied", lines)
	}
	ours.MustRun(t, "nix-store", "--verify", "--check-contents")
}
