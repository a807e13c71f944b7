// Package realtest builds the packages of an example on real Nix daemons.
package realtest

import (
	"os"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/pixpkgs"
)

// Build builds packages with each available version of Nix, and calls check with the contents of their default outputs,
// which must be files. Without any Nix, the test is skipped.
func Build(t *testing.T, declare func(t *testing.T, d *realnix.Daemon) []*pixpkgs.Package, check func(t *testing.T, contents []string)) {
	t.Helper()
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		t.Parallel()
		d := realnix.Start(t, s, nil)
		pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		built, err := pixpkgs.Realize(t.Context(), pool, declare(t, d)...)
		if err != nil {
			t.Fatal(err)
		}
		var contents []string
		for _, b := range built {
			path := b.Outputs[b.Package.Outputs()[0]]
			text, err := os.ReadFile(d.HostPath(string(path)))
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, string(text))
		}
		check(t, contents)
	})
}

// Packages returns the result of an example's declare as an argument for [Build].
func Packages(declared []*pixpkgs.Package, err error) func(*testing.T, *realnix.Daemon) []*pixpkgs.Package {
	return func(t *testing.T, _ *realnix.Daemon) []*pixpkgs.Package {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return declared
	}
}
