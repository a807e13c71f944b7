package binarycache_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/daemon"
	"pix/internal/realnix"
	"pix/nar"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// isOld reports whether a Nix is older than 2.4: it has fewer compression methods and other
// commands.
func isOld(s realnix.Suite) bool { return strings.HasPrefix(s.Version, "2.3.") }

// isNew reports whether a Nix is from 2.26 on.
func isNew(s realnix.Suite) bool { return s.Name == "trixie" || s.Name == "sid" }

// copyWithNix copies an output and a derivation with Nix.
func copyWithNix(t *testing.T, d *realnix.Daemon, flag, uri string, out, drv storepath.Path) {
	t.Helper()
	args := []string{"nix", "copy", flag, uri}
	if d.Suite.Name != "bookworm" {
		d.MustRun(t, append(args, string(out), string(drv))...)
		return
	}
	d.MustRun(t, append(args, string(out))...) // 2.8 takes a derivation to mean its outputs
	d.MustRun(t, append(args, "--derivation", string(drv))...)
}

// expression is a derivation with an input, whose output refers to the input and to itself.
const expression = `
let
  derive = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/bin:/usr/bin";
  };
  base = derive "base" "mkdir -p $out/bin; i=0; while [ $i -lt 3000 ]; do echo $i lorem ipsum; i=$((i+1)); done > $out/bin/text; ln -s bin/text $out/link";
in derive "top" "echo built; echo ${base} $out > $out"
`

// realPool starts a daemon, and connects to it.
func realPool(t *testing.T, s realnix.Suite, config map[string]string) (*realnix.Daemon, *daemon.Pool) {
	t.Helper()
	d := realnix.Start(t, s, &realnix.Options{Config: config})
	pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return d, pool
}

// buildTop builds the expression, and returns the path of its output and of its derivation.
func buildTop(t *testing.T, d *realnix.Daemon) (top, drv storepath.Path) {
	t.Helper()
	write(t, d.HostPath("/tmp/top.nix"), expression)
	top, err := storepath.DefaultDir.Parse(strings.TrimSpace(d.MustRun(t, "nix-build", "--no-out-link", "/tmp/top.nix")))
	if err != nil {
		t.Fatal(err)
	}
	drv, err = storepath.DefaultDir.Parse(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/top.nix")))
	if err != nil {
		t.Fatal(err)
	}
	return top, drv
}

// baseOf returns the other path to which top refers.
func baseOf(t *testing.T, s store.Store, top storepath.Path) storepath.Path {
	t.Helper()
	info, err := s.QueryPathInfo(t.Context(), top)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(info.References, func(p storepath.Path) bool { return p != top })
	return info.References[i]
}

func write(t *testing.T, file, contents string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens a cache, and closes it when the test ends.
func open(t *testing.T, uri string, opts *binarycache.Options) *binarycache.Store {
	t.Helper()
	s, err := binarycache.Open(t.Context(), uri, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve serves a directory on the loopback device.
func serve(t *testing.T, dir string) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(server.Close)
	return server.URL
}

// A cache written by Nix is read as Nix reads it, from a directory and over HTTP.
func TestReadsWhatNixWrites(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d, pool := realPool(t, s, nil)
		top, drv := buildTop(t, d)
		key := newKey(t)
		write(t, d.HostPath("/tmp/key"), key.Reveal())
		methods := []string{"none", "xz", "bzip2", "br"}
		if !isOld(s) {
			methods = append(methods, "zstd", "gzip", "lzma", "lz4")
		}
		for _, method := range methods {
			t.Run(method, func(t *testing.T) {
				dir := "/tmp/cache-" + method
				copyWithNix(t, d, "--to", "file://"+dir+"?compression="+method+"&secret-key=/tmp/key&write-nar-listing=true", top, drv)
				dir = d.HostPath(dir)
				for _, uri := range []string{"file://" + dir, serve(t, dir)} {
					c := open(t, uri, nil)
					compare(t, c, pool, top, drv)
					checkSigned(t, c, top, key)
				}
			})
		}
	})
}

// compare compares the closure of roots in a cache with the closure in another store.
func compare(t *testing.T, c *binarycache.Store, want store.Store, roots ...storepath.Path) {
	t.Helper()
	ctx := t.Context()
	var paths []storepath.Path
	for w, err := range store.Closure(ctx, want, roots...) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, w.Path)
		got, err := c.QueryPathInfo(ctx, w.Path)
		if err != nil {
			t.Fatal(err)
		}
		if got.NARHash != w.NARHash || got.NARSize != w.NARSize || !slices.Equal(got.References, w.References) || got.Deriver != w.Deriver || got.CA != w.CA {
			t.Errorf("cache: %+v\nstore: %+v", got, w)
		}
		if a, b := archiveOf(t, c, w.Path), archiveOf(t, want, w.Path); a != b {
			t.Errorf("archives of %s differ: %d and %d bytes", w.Path, len(a), len(b))
		}
		listing, err := c.Listing(ctx, w.Path)
		if err != nil {
			t.Fatal(err)
		}
		wantListing, err := nar.ReadListing(strings.NewReader(archiveOf(t, want, w.Path)))
		if err != nil {
			t.Fatal(err)
		}
		gotLS, _ := nar.MarshalLS(listing)
		wantLS, _ := nar.MarshalLS(wantListing)
		if string(gotLS) != string(wantLS) {
			t.Errorf("listing %s\nwant %s", gotLS, wantLS)
		}
		byHash, err := c.QueryPathFromHashPart(ctx, w.Path.HashPart())
		if err != nil || byHash != w.Path {
			t.Errorf("by hash part: %s, %v", byHash, err)
		}
	}
	slices.Sort(paths)
	absent := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")
	valid, err := c.QueryValidPaths(ctx, append(slices.Clone(paths), absent), false)
	if err != nil || !slices.Equal(valid, paths) {
		t.Errorf("valid: %q, %v", valid, err)
	}
	if strings.HasPrefix(c.URI(), "file:") {
		all, err := c.QueryAllValidPaths(ctx)
		if err != nil || !slices.Equal(all, paths) {
			t.Errorf("all: %q, %v", all, err)
		}
	}
	if _, err := c.QueryPathInfo(ctx, absent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}

func archiveOf(t *testing.T, s store.Store, path storepath.Path) string {
	t.Helper()
	r, err := store.ReadNAR(t.Context(), s, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkSigned checks that a store that trusts the key copies the closure from the cache,
// and that another store copies only content-addressed paths.
func checkSigned(t *testing.T, c *binarycache.Store, path storepath.Path, key signature.SecretKey) {
	t.Helper()
	trusting := memstore.New(&memstore.Options{TrustedKeys: signature.NewKeySet(key.Public())})
	if _, err := store.Copy(t.Context(), trusting, c, []storepath.Path{path}, nil); err != nil {
		t.Error(err)
	}
	if _, err := store.Copy(t.Context(), memstore.New(nil), c, []storepath.Path{path}, nil); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("without a trusted key: %v", err)
	}
}

// Nix copies from a cache that pix wrote, from a directory and over HTTP.
func TestNixReadsWhatPixWrites(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		builder, pool := realPool(t, s, nil)
		top, drv := buildTop(t, builder)
		base := baseOf(t, pool, top)
		key := newKey(t)
		methods := []string{"none", "xz", "br"}
		if !isOld(s) {
			methods = append(methods, "", "zstd", "gzip")
		}
		for _, method := range methods {
			t.Run("method "+method, func(t *testing.T) {
				d, taken := realPool(t, s, map[string]string{"trusted-public-keys": key.Public().String()})
				dir := d.HostPath("/tmp/cache")
				c := open(t, "file://"+dir, &binarycache.Options{Compression: method, SecretKeys: []signature.SecretKey{key}, WriteListings: true})
				roots := []storepath.Path{top, drv}
				copied, err := store.Copy(t.Context(), c, pool, roots, nil)
				if err != nil || len(copied) < 4 {
					t.Fatal(len(copied), err)
				}
				compare(t, c, pool, roots...)
				url := serve(t, dir)
				for _, uri := range []string{"file:///tmp/cache", url} {
					out := d.MustRun(t, "nix", "path-info", "--store", uri, "--recursive", "--sigs", string(top))
					if n := strings.Count(out, "test-1:"); n != 2 {
						t.Errorf("%d paths are signed:\n%s", n, out)
					}
					verify := []string{"nix", "store", "verify"}
					if isOld(s) {
						verify = []string{"nix", "verify"}
					}
					d.MustRun(t, append(verify, "--store", uri, "--recursive", "--trusted-public-keys", key.Public().String(), string(top), string(drv))...)
				}
				copyWithNix(t, d, "--from", "file:///tmp/cache", base, drv)
				d.MustRun(t, "nix", "copy", "--from", url, string(top))
				compare(t, c, taken, roots...)
				d.MustRun(t, "nix-store", "--verify", "--check-contents")
			})
		}
	})
}

// Without compression, pix writes the same bytes as Nix.
func TestWritesWhatNixWrites(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d, pool := realPool(t, s, nil)
		top, drv := buildTop(t, d)
		key := newKey(t)
		write(t, d.HostPath("/tmp/key"), key.Reveal())
		const params = "?compression=none&write-nar-listing=true"
		copyWithNix(t, d, "--to", "file:///tmp/theirs"+params+"&secret-key=/tmp/key", top, drv)
		ours := open(t, "file://"+d.HostPath("/tmp/ours")+params+"&secret-key="+d.HostPath("/tmp/key"), nil)
		if _, err := store.Copy(t.Context(), ours, pool, []storepath.Path{top, drv}, nil); err != nil {
			t.Fatal(err)
		}
		got, want := filesIn(t, d.HostPath("/tmp/ours")), filesIn(t, d.HostPath("/tmp/theirs"))
		for name := range want {
			if strings.HasSuffix(name, ".ls") && !isNew(s) {
				got[name] = want[name] // the same members in another order
			}
			if got[name] != want[name] {
				t.Errorf("%s:\n%.1000q\nwant\n%.1000q", name, got[name], want[name])
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("files that Nix does not write: %q", slices.Sorted(maps.Keys(got)))
		}
	})
}

// filesIn returns the contents of all files in a directory.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path[len(dir)+1:]] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// floating is a derivation with a floating output, for which there is a realisation.
const floating = `derivation {
  name = "floating";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo said; echo made > $out" ];
  __contentAddressed = true;
  outputHashMode = "recursive";
  outputHashAlgo = "sha256";
}`

// Realisations and logs are exchanged in both directions.
func TestRealisationsAndLogs(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if isOld(s) {
			t.Skip("this Nix has no content-addressed derivations")
		}
		d, pool := realPool(t, s, map[string]string{"experimental-features": "nix-command ca-derivations"})
		write(t, d.HostPath("/tmp/floating.nix"), floating)
		out := strings.TrimSpace(d.MustRun(t, "nix-build", "--no-out-link", "/tmp/floating.nix"))
		path, err := storepath.DefaultDir.Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		drv, err := storepath.DefaultDir.Parse(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/floating.nix")))
		if err != nil {
			t.Fatal(err)
		}
		d.MustRun(t, "nix", "copy", "--to", "file:///tmp/theirs", "--file", "/tmp/floating.nix")
		d.MustRun(t, "nix", "store", "copy-log", "--to", "file:///tmp/theirs", string(drv))

		dir := d.HostPath("/tmp/theirs")
		names, err := filepath.Glob(dir + "/realisations/*.doi")
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		id, err := store.ParseHashID(strings.TrimSuffix(filepath.Base(names[0]), ".doi"))
		if err != nil {
			t.Fatal(err)
		}
		ours := open(t, "file://"+d.HostPath("/tmp/ours"), nil)
		for _, uri := range []string{"file://" + dir, serve(t, dir)} {
			c := open(t, uri, nil)
			r, err := c.QueryRealisation(t.Context(), id)
			if err != nil || r.OutPath != path {
				t.Fatalf("%+v, %v, want %s", r, err, path)
			}
			if _, err := c.QueryRealisation(t.Context(), store.DrvOutput{Hash: id.Hash, Output: "other"}); !errors.Is(err, store.ErrNotFound) {
				t.Error(err)
			}
			log, err := c.BuildLog(t.Context(), drv)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(log)
			log.Close()
			if err != nil || string(text) != "said\n" {
				t.Errorf("log %q, %v", text, err)
			}
			if err := ours.RegisterDrvOutput(t.Context(), store.KeyedRealisation{ID: id, Realisation: *r}); err != nil {
				t.Fatal(err)
			}
			if err := ours.AddBuildLog(t.Context(), drv, strings.NewReader(string(text))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.Copy(t.Context(), ours, pool, []storepath.Path{path}, nil); err != nil {
			t.Fatal(err)
		}
		files, theirs := filesIn(t, d.HostPath("/tmp/ours")), filesIn(t, dir)
		for _, name := range []string{names[0][len(dir)+1:], "log/" + drv.Base()} {
			if files[name] != theirs[name] {
				t.Errorf("%s: %q, want %q", name, files[name], theirs[name])
			}
		}
		if !isNew(s) {
			return // this version requires the derivation itself in the cache
		}
		if got := d.MustRun(t, "nix", "log", "--store", "file:///tmp/ours", string(drv)); got != "said\n" {
			t.Errorf("nix log: %q", got)
		}
	})
}
