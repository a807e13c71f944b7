package main

import (
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/signature"
)

// Every Nix and pix get the same from 'pix serve', directly and through an upstream cache, as from a directory, and write
// the same to it. Transfers that are killed or broken are completed by repeating the command.
func TestRealServeMatrix(t *testing.T) {
	key, err := signature.GenerateKey("matrix-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NIX_CONFIG", "trusted-public-keys = "+key.Public().String()+"\nextra-experimental-features = ca-derivations")
	testenv.NoLeak(t)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		w := newMatrixWorld(t, s, key)
		clients := []*matrixClient{w.stockClient()}
		if s.Name == "trixie" {
			clients = append(clients, w.pixClient(t))
		}
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Run("queries", func(t *testing.T) { w.testQueries(t, c) })
				t.Run("downloads", func(t *testing.T) { w.testDownloads(t, c) })
				t.Run("broken downloads", func(t *testing.T) { w.testBrokenDownloads(t, c) })
				t.Run("uploads", func(t *testing.T) { w.testUploads(t, c) })
				t.Run("broken uploads", func(t *testing.T) { w.testBrokenUploads(t, c) })
			})
		}
	})
}

// sources returns the caches by name. The first one is the directory.
func (w *matrixWorld) sources(c *matrixClient) [][2]string {
	return [][2]string{{"directory", "file://" + c.path("/tmp/directory")}, {"serve", w.served}, {"pull-through", w.pullThrough}}
}

// compare reports a difference between a cache and the directory.
func compare(t *testing.T, c *matrixClient, what, cache, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s, %s, %s:\n%s\nwant, from a directory:\n%s", c.name, what, cache, got, want)
	}
}

// testQueries compares what a client prints about paths, listings, contents and logs.
func (w *matrixWorld) testQueries(t *testing.T, c *matrixClient) {
	var want []string
	for _, source := range w.sources(c) {
		for i, q := range c.queries(source[1]) {
			got := c.mustRun(t, q)
			if source[0] == "directory" {
				want = append(want, got)
			}
			compare(t, c, strings.Join(q, " "), source[0], got, want[i])
		}
	}
	if n := len(want); want[n-1] != "built\n" || want[n-2] != "built\n" || !strings.Contains(want[0], "matrix-1:") {
		t.Errorf("%s: the answers are %q", c.name, want)
	}
}

// testDownloads compares the stores into which a client copies and substitutes.
func (w *matrixWorld) testDownloads(t *testing.T, c *matrixClient) {
	single := func(command func(uri, dst string) []string) func(uri, dst string) [][]string {
		return func(uri, dst string) [][]string { return [][]string{command(uri, dst)} }
	}
	for name, commands := range map[string]func(uri, dst string) [][]string{
		"copy": single(c.copyFrom), "realise": single(c.realise), "output": c.copyOutput,
	} {
		if commands == nil {
			t.Logf("%s has no content-addressed derivations", c.name)
			continue
		}
		want := ""
		for _, source := range w.sources(c) {
			dir := w.newDir()
			for _, args := range commands(source[1], c.path(dir)) {
				c.mustRun(t, args)
			}
			got := w.describeDownload(t, dir)
			if source[0] == "directory" {
				want = got
			}
			compare(t, c, name, source[0], got, want)
		}
		if path := map[string]string{"output": string(w.outOfIt)}[name]; !strings.Contains(want, "matrix-1:") || !strings.Contains(want, path) {
			t.Errorf("%s, %s: the store has %s", c.name, name, want)
		}
	}
}

// describeDownload describes a store inside, which the Nix of the world checks, too.
func (w *matrixWorld) describeDownload(t *testing.T, dir string) string {
	t.Helper()
	if _, stderr, err := w.d.Run("env", "NIX_REMOTE=", "nix-store", "--store", dir, "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "error") {
		t.Errorf("%v, %s", err, stderr)
	}
	return w.describeRoot(t, w.d.HostPath(dir))
}

// testBrokenDownloads kills a copy in the middle of an archive, and repeats it over connections that break.
func (w *matrixWorld) testBrokenDownloads(t *testing.T, c *matrixClient) {
	dir := w.newDir()
	c.mustRun(t, c.copyFrom("file://"+c.path("/tmp/directory"), c.path(dir)))
	want := w.describeDownload(t, dir)
	for _, source := range w.sources(c)[1:] {
		p, dir := newFaultyProxy(t, source[1]), w.newDir()
		c.killHeld(t, p.holdNext(), c.copyFrom(p.url, c.path(dir)))
		p.cutAll()
		c.mustRun(t, c.copyFrom(p.url, c.path(dir)))
		if n := p.parts(); n == 0 {
			t.Errorf("%s, %s: no download was resumed", c.name, source[0])
		}
		compare(t, c, "broken copy", source[0], w.describeDownload(t, dir), want)
	}
}

// uploadServer starts a server for uploads into a new store. It returns the URL for a copy and the directory of the store.
func (w *matrixWorld) uploadServer(t *testing.T, mode string) (url, root string) {
	t.Helper()
	root = t.TempDir()
	tokens := w.d.HostPath("/tmp/tokens")
	w.write(t, "/tmp/tokens", matrixToken+"\n")
	args := []string{"--store", root, "--accept-uploads", "--trusted-token-file", tokens}
	if mode == "serve" {
		return w.serve(t, args...), root
	}
	return w.serve(t, append(args, "--upstream", w.served, "--upstream-dir", t.TempDir())...) + "/upload", root
}

// testUploads compares what a client writes.
func (w *matrixWorld) testUploads(t *testing.T, c *matrixClient) {
	for name, command := range map[string]func(uri string) []string{"copy": c.copyTo, "output": c.copyOutputTo, "logs": c.copyLogs} {
		if command == nil {
			t.Logf("%s cannot upload: %s", c.name, name)
			continue
		}
		dir := w.newDir()
		c.mustRun(t, command("file://"+c.path(dir)))
		want := w.describeCache(t, dir)
		for _, mode := range []string{"serve", "pull-through"} {
			url, root := w.uploadServer(t, mode)
			c.mustRun(t, command(strings.Replace(url, "://", "://x:"+matrixToken+"@", 1)))
			compare(t, c, name, mode, w.describeRoot(t, root), want)
		}
		if name == "logs" && !strings.Contains(want, `"built\n"`) || name != "logs" && !strings.Contains(want, "matrix-1:") {
			t.Errorf("%s, %s: the cache has %s", c.name, name, want)
		}
	}
}

// testBrokenUploads kills a copy in the middle of an archive, lets the next one fail, and repeats it.
func (w *matrixWorld) testBrokenUploads(t *testing.T, c *matrixClient) {
	dir := w.newDir()
	c.mustRun(t, c.copyTo("file://"+c.path(dir)))
	want := w.describeCache(t, dir)
	for _, mode := range []string{"serve", "pull-through"} {
		url, root := w.uploadServer(t, mode)
		p := newFaultyProxy(t, strings.TrimSuffix(url, "/upload"))
		to := c.copyTo(p.url + strings.TrimPrefix(url, strings.TrimSuffix(url, "/upload")))
		c.killHeld(t, p.holdNext(), to)
		if paths := w.describeRoot(t, root); paths != "" {
			t.Errorf("%s, %s: after a killed upload the store has %s", c.name, mode, paths)
		}
		p.refuseNext()
		if _, stderr, err := c.run(to); err == nil {
			t.Errorf("%s, %s: no error of a refused upload: %s", c.name, mode, stderr)
		}
		c.mustRun(t, to)
		compare(t, c, "broken copy", mode, w.describeRoot(t, root), want)
	}
}
