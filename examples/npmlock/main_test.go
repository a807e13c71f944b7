package main

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/examples/internal/realtest"
	"pix/internal/realnix"
	"pix/pixpkgs"
)

func Example() {
	main()
	// Output:
	// /nix/store/db3nmbapjvkidx67742mas5mlckji0nd-site-1.0.0
}

// The downloads of this test are local files, so it needs no network.
func TestBuild(t *testing.T) {
	declare := func(t *testing.T, d *realnix.Daemon) []*pixpkgs.Package {
		packages := map[string]any{"": map[string]string{}}
		for _, name := range []string{"one", "two"} {
			text := []byte("this is " + name)
			if err := os.WriteFile(filepath.Join(d.HostPath("/tmp"), name+".tgz"), text, 0o644); err != nil {
				t.Fatal(err)
			}
			sum := sha512.Sum512(text)
			packages["node_modules/"+name] = map[string]string{
				"resolved": "file:///tmp/" + name + ".tgz", "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
			}
		}
		lock, err := json.Marshal(map[string]any{"name": "site", "version": "2", "packages": packages})
		if err != nil {
			t.Fatal(err)
		}
		p, err := generate(lock)
		if err != nil {
			t.Fatal(err)
		}
		return []*pixpkgs.Package{p}
	}
	realtest.Build(t, declare, func(t *testing.T, contents []string) {
		lines := strings.Split(contents[0], "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "one /nix/store/") || !strings.HasSuffix(lines[1], "-two.tgz") {
			t.Errorf("the index is %q", contents[0])
		}
	})
}

// The error for an invalid hash in the lock file names the dependency.
func TestBadLock(t *testing.T) {
	_, err := generate([]byte(`{"name":"x","version":"1","packages":{"node_modules/bad":{"resolved":"https://example.org/bad.tgz","integrity":"sha512-abc"}}}`))
	if err == nil || !strings.Contains(err.Error(), "node_modules/bad") {
		t.Errorf("%v", err)
	}
}
