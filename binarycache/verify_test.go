package binarycache_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/activity"
	"pix/binarycache"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// filled returns a cache in a directory with a chain of 6 paths, and the paths.
func filled(t *testing.T, opts *binarycache.Options) (c *binarycache.Store, dir string, src store.Store, paths []storepath.Path) {
	t.Helper()
	mem, paths := chain(t, 6)
	dir = t.TempDir()
	c = open(t, "file://"+dir, opts)
	if _, err := store.Copy(t.Context(), c, mem, paths, nil); err != nil {
		t.Fatal(err)
	}
	return c, dir, mem, paths
}

// archiveFile returns the name of the file of an archive.
func archiveFile(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) string {
	t.Helper()
	n, err := c.NarInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, filepath.FromSlash(n.URL))
}

// Archives that were lost are copied again, and no others.
func TestCopyToCacheWithoutArchives(t *testing.T) {
	c, dir, src, paths := filled(t, nil)
	lost, short := archiveFile(t, c, dir, paths[2]), archiveFile(t, c, dir, paths[4])
	if err := errors.Join(os.Remove(lost), os.Truncate(short, 10)); err != nil {
		t.Fatal(err)
	}
	copied, err := store.Copy(t.Context(), c, src, paths, nil)
	if err != nil || len(copied) != 2 || copied[0].Path != paths[2] || copied[1].Path != paths[4] {
		t.Errorf("%d were copied, %v", len(copied), err)
	}
	if bad, err := c.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
	// The same path by path.
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	info, err := src.QueryPathInfo(t.Context(), paths[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddToStoreNAR(t.Context(), info, strings.NewReader(archiveOf(t, src, paths[2])), nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(lost); err != nil {
		t.Error(err)
	}
}

// Each fault of a cache in a directory is reported with its path.
func TestVerifyCache(t *testing.T) {
	key, err := signature.GenerateKey("k-1")
	if err != nil {
		t.Fatal(err)
	}
	opts := &binarycache.Options{SecretKeys: []signature.SecretKey{key}}
	for name, fault := range map[string]struct {
		spoil func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path)
		log   string // "" if it is found only in the contents
	}{
		"archive gone": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			os.Remove(archiveFile(t, c, dir, path))
		}, "is missing"},
		"archive short": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			os.Truncate(archiveFile(t, c, dir, path), 10)
		}, "the size of"},
		"archive wrong": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			edit(t, archiveFile(t, c, dir, path), func(s string) string { return s[:len(s)-1] + "?" })
		}, ""},
		"no narinfo": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			edit(t, filepath.Join(dir, narinfo.FileName(path)), func(string) string { return "no narinfo" })
		}, ".narinfo"},
		"narinfo of another path": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			os.Rename(filepath.Join(dir, narinfo.FileName(path)), filepath.Join(dir, strings.Repeat("0", 32)+".narinfo"))
		}, "another path"},
		"signature wrong": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			edit(t, filepath.Join(dir, narinfo.FileName(path)), func(s string) string {
				return strings.Replace(s, "\nSig: k-1:", "\nSig: k-1:"+strings.Repeat("A", 86)+"==\nSig: other:", 1)
			})
		}, "signature of path"},
		"signature malformed": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			edit(t, filepath.Join(dir, narinfo.FileName(path)), func(s string) string {
				return strings.Replace(s, "\nSig: k-1:", "\nSig: nonsense:", 1)
			})
		}, ""},
		"reference gone": {func(t *testing.T, c *binarycache.Store, dir string, path storepath.Path) {
			os.Remove(filepath.Join(dir, narinfo.FileName(path)))
		}, "which is not in the binary cache"},
	} {
		t.Run(name, func(t *testing.T) {
			c, dir, _, paths := filled(t, opts)
			if bad, err := c.VerifyStore(t.Context(), true, false); bad || err != nil {
				t.Fatal(bad, err)
			}
			fault.spoil(t, c, dir, paths[3])
			var log []string
			ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
				if line, ok := e.(activity.Log); ok {
					log = append(log, line.Text)
				}
			}))
			bad, err := c.VerifyStore(ctx, false, false)
			if err != nil || fault.log != "" && (!bad || !strings.Contains(strings.Join(log, "\n"), fault.log)) {
				t.Errorf("%t, %v, log %q", bad, err, log)
			}
			if bad, err := c.VerifyStore(ctx, true, false); fault.log == "" && name != "signature malformed" && (!bad || err != nil || !strings.Contains(strings.Join(log, "\n"), paths[3].Base())) {
				t.Errorf("%t, %v, log %q", bad, err, log)
			}
		})
	}
	c, _, _, _ := filled(t, nil)
	if _, err := c.VerifyStore(t.Context(), false, true); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("repair: %v", err)
	}
	f := newFake()
	if _, err := f.open(t, binarycache.HTTPOptions{}).VerifyStore(t.Context(), false, false); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("behind HTTP: %v", err)
	}
}

// edit changes a file.
func edit(t *testing.T, name string, change func(string) string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(change(string(b))), 0o644); err != nil {
		t.Fatal(err)
	}
}
