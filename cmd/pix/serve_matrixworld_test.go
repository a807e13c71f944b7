package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// matrixExpression has a derivation with an input, whose output refers to the input and to itself, and a content-addressed
// derivation. The input is larger than the part of an archive that a faultyProxy lets pass.
const matrixExpression = `
let
  derive = name: script: attrs: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/bin:/usr/bin";
  } // attrs);
  base = derive "base" "mkdir -p $out/bin; i=0; while [ $i -lt 3000 ]; do echo $i lorem ipsum; i=$((i+1)); done > $out/bin/text; ln -s bin/text $out/link; cat $out/link $out/link $out/link $out/link > $out/large" {};
in {
  top = derive "top" "echo built; echo ${base} $out > $out" {};
  floating = derive "floating" "echo said; echo made > $out" {
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };
}`

const matrixToken = "0123456789abcdef"

// A matrixWorld is a store in which a Nix has built the expression, and a cache of it in a directory.
type matrixWorld struct {
	d                   *realnix.Daemon
	top, drv            storepath.Path
	floating, outOfIt   storepath.Path // "" if that Nix has no content-addressed derivations
	served, pullThrough string         // URLs of servers
	number              int            // of the last new directory
}

// newMatrixWorld builds the expression with a Nix, and starts servers.
func newMatrixWorld(t *testing.T, s realnix.Suite, key signature.SecretKey) *matrixWorld {
	t.Helper()
	old := strings.HasPrefix(s.Version, "2.3.")
	config := map[string]string{"trusted-public-keys": key.Public().String(), "secret-key-files": "/tmp/secret-key"}
	if !old {
		config["experimental-features"] = "nix-command ca-derivations"
	}
	w := &matrixWorld{d: realnix.Start(t, s, &realnix.Options{Config: config})}
	w.write(t, "/tmp/secret-key", key.Reveal())
	w.write(t, "/tmp/all.nix", matrixExpression)
	run := func(args ...string) storepath.Path {
		t.Helper()
		path, err := storepath.DefaultDir.Parse(strings.TrimSpace(w.d.MustRun(t, args...)))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	w.top = run("nix-build", "--no-out-link", "/tmp/all.nix", "-A", "top")
	w.drv = run("nix-instantiate", "/tmp/all.nix", "-A", "top")
	paths := []string{string(w.top), string(w.drv)}
	if !old {
		w.outOfIt = run("nix-build", "--no-out-link", "/tmp/all.nix", "-A", "floating")
		w.floating = run("nix-instantiate", "/tmp/all.nix", "-A", "floating")
		w.d.MustRun(t, "nix", "copy", "--to", directoryCache, "--file", "/tmp/all.nix", "floating")
		w.d.MustRun(t, "nix", "copy", "--derivation", "--to", directoryCache, string(w.drv), string(w.floating))
	}
	w.d.MustRun(t, append([]string{"nix", "copy", "--to", directoryCache}, paths...)...)
	// Nix 2.3 writes no logs to caches.
	w.write(t, "/tmp/directory/log/"+w.drv.Base(), "built\n")

	w.served = w.serve(t, "--store", "local?root="+w.d.HostPath("/"))
	upstream := newFaultyProxy(t, w.served)
	upstream.cutAll()
	w.pullThrough = w.serve(t, "--store", t.TempDir(), "--upstream", upstream.url, "--upstream-dir", t.TempDir())
	return w
}

// directoryCache is the cache in a directory, for a command of Nix.
const directoryCache = "file:///tmp/directory?compression=none&write-nar-listing=true"

// write writes a file inside.
func (w *matrixWorld) write(t *testing.T, name, text string) {
	t.Helper()
	name = w.d.HostPath(name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serve starts 'pix serve', and returns its URL.
func (w *matrixWorld) serve(t *testing.T, args ...string) string {
	t.Helper()
	return "http://" + startServe(t, 1, append([]string{"--listen", "127.0.0.1:0"}, args...)...).addresses[0]
}

// newDir returns the path inside of a directory that does not exist.
func (w *matrixWorld) newDir() string {
	w.number++
	return fmt.Sprintf("/tmp/new-%d", w.number)
}

// A matrixClient is a client of caches. Its functions return commands. They are nil if the client cannot do that.
type matrixClient struct {
	name    string
	command func(ctx context.Context, args ...string) *exec.Cmd
	path    func(name string) string // of a file inside, for the client

	copyFrom, realise              func(uri, dst string) []string
	copyOutput                     func(uri, dst string) [][]string
	queries                        func(uri string) [][]string
	copyTo, copyOutputTo, copyLogs func(uri string) []string
}

// run runs a command of the client.
func (c *matrixClient) run(args []string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := c.command(context.Background(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// mustRun is run for a command that must succeed.
func (c *matrixClient) mustRun(t *testing.T, args []string) string {
	t.Helper()
	stdout, stderr, err := c.run(args)
	if err != nil {
		t.Fatalf("%s: %v: %v\n%s", c.name, args, err, stderr)
	}
	return stdout
}

// killHeld starts a command, and kills it when a proxy has stopped its transfer.
func (c *matrixClient) killHeld(t *testing.T, held *heldTransfer, args []string) {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	cmd := c.command(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-held.stopped:
		kill()
		<-ended
		close(held.broken)
	case err := <-ended:
		t.Fatalf("%s: %v ended without a transfer: %v\n%s", c.name, args, err, &out)
	}
}

// stockClient returns the Nix of the world as a client.
func (w *matrixWorld) stockClient() *matrixClient {
	direct := []string{"env", "NIX_REMOTE="}
	nix := func(args ...string) []string { return append(direct, args...) }
	c := &matrixClient{
		name:    "Nix " + w.d.Version,
		command: w.d.Command,
		path:    func(name string) string { return name },
		copyFrom: func(uri, dst string) []string {
			return nix("nix", "copy", "--from", uri, "--to", dst, string(w.top))
		},
		realise: func(uri, dst string) []string {
			return nix("nix-store", "--store", dst, "--option", "substituters", uri, "-r", string(w.top))
		},
		copyTo: func(uri string) []string { return nix("nix", "copy", "--to", uri, string(w.top)) },
	}
	list := []string{"nix", "store", "ls"}
	cat := []string{"nix", "store", "cat"}
	if w.floating == "" { // Nix 2.3
		list, cat = []string{"nix", "ls-store"}, []string{"nix", "cat-store"}
	} else {
		c.copyOutput = func(uri, dst string) [][]string {
			return [][]string{nix("nix", "build", "--store", dst, "--option", "substituters", uri, "--max-jobs", "0", "--no-link", "--file", "/tmp/all.nix", "floating")}
		}
		c.copyOutputTo = func(uri string) []string {
			return []string{"nix", "copy", "--to", uri, "--file", "/tmp/all.nix", "floating"}
		}
		c.copyLogs = func(uri string) []string {
			return []string{"nix", "store", "copy-log", "--to", uri, string(w.drv)}
		}
	}
	c.queries = func(uri string) (all [][]string) {
		for _, q := range [][]string{
			{"nix", "path-info", "-rsS", "--sigs", string(w.top)},
			append(list, "-lR", string(w.top)), append(cat, string(w.top)),
			{"nix", "log", string(w.drv)}, {"nix", "log", string(w.top)},
		} {
			all = append(all, nix(append(q, "--store", uri)...))
		}
		return all
	}
	return c
}

// pixClient returns pix as a client.
func (w *matrixWorld) pixClient(t *testing.T) *matrixClient {
	source := "local?root=" + w.d.HostPath("/")
	output := string(w.floating) + "^out"
	return &matrixClient{
		name: "pix",
		command: func(ctx context.Context, args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, "pix", args...)
			cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "XDG_STATE_HOME="+t.TempDir())
			return cmd
		},
		path: w.d.HostPath,
		copyFrom: func(uri, dst string) []string {
			return []string{"copy", "--from", uri, "--to", dst, string(w.top)}
		},
		realise: func(uri, dst string) []string {
			return []string{"build", "--store", dst, "--option", "substituters", uri, string(w.top)}
		},
		copyOutput: func(uri, dst string) [][]string {
			return [][]string{
				{"copy", "--from", uri, "--to", dst, string(w.floating)},
				{"build", "--store", dst, "--option", "substituters", uri, "--max-jobs", "0", output},
			}
		},
		queries: func(uri string) (all [][]string) {
			for _, q := range [][]string{
				{"path-info", "-rsS", "--sigs", string(w.top)}, {"path-info", "-r", string(w.top)},
				{"ls", "-lR", string(w.top)}, {"ls", "-R", "--json", string(w.top)}, {"cat", string(w.top)},
				{"log", string(w.drv)}, {"log", string(w.top)},
			} {
				all = append(all, append(q, "--store", uri))
			}
			return all
		},
		copyTo:       func(uri string) []string { return []string{"copy", "--store", source, "--to", uri, string(w.top)} },
		copyOutputTo: func(uri string) []string { return []string{"copy", "--store", source, "--to", uri, output} },
		copyLogs:     func(uri string) []string { return []string{"push", "--store", source, "--all", "--logs", uri} },
	}
}

// describe returns the infos, realisations and logs in a store, after checking its contents.
func (w *matrixWorld) describe(t *testing.T, s store.Store) string {
	t.Helper()
	var lines []string
	for i, err := range store.AllPathInfos(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintln(i.Path, i.NARHash, i.NARSize, i.Deriver, i.References, i.Signatures, i.CA, i.Ultimate))
	}
	all, err := store.AllRealisations(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		lines = append(lines, fmt.Sprintln(r.ID.ID(), r.OutPath, r.Signatures))
	}
	if log, err := store.BuildLog(t.Context(), s, w.drv); err == nil {
		b, err := io.ReadAll(log)
		log.Close()
		lines = append(lines, fmt.Sprintf("%q %v\n", b, err))
	}
	if remain, err := store.Verify(t.Context(), s, true, false); err != nil || remain {
		t.Errorf("errors remain: %t, %v", remain, err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// describeRoot describes a store in a directory.
func (w *matrixWorld) describeRoot(t *testing.T, root string) string {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: root, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return w.describe(t, s)
}

// describeCache describes a cache in a directory inside.
func (w *matrixWorld) describeCache(t *testing.T, dir string) string {
	t.Helper()
	s, err := binarycache.Open(t.Context(), "file://"+w.d.HostPath(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return w.describe(t, s)
}
