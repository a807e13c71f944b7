package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
)

const output = `verified 12 derivations
added /nix/store/p336jzwqmljr1n579nrsx4narbgw6az9-list, 1544 bytes
added /nix/store/j48maqbqr8czzbrp09929lz6y79hpwnr-derivations, 36536 bytes
verified the contents of the store
derivations is alive: list refers to it, and the root "derivations" points there
`

const derivations = "../../testdata/corepkgs"

func TestRun(t *testing.T) {
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	for range 2 { // the second run finds the paths in the store
		var out bytes.Buffer
		if err := run(t.Context(), root, derivations, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != output {
			t.Errorf("got\n%swant\n%s", out.String(), output)
		}
	}

	file := filepath.Join(root, "nix/store/p336jzwqmljr1n579nrsx4narbgw6az9-list")
	if err := os.WriteFile(file, []byte("something else\n"), 0o666); err == nil { // fails unless the user is root
		if err := run(t.Context(), root, derivations, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("after a file was changed: error %v", err)
		}
	}
}

// Nix opens the store, verifies it, and finds the same paths.
func TestNixOpensIt(t *testing.T) {
	for _, name := range []string{"bookworm", "sid"} {
		t.Run(name, func(t *testing.T) {
			d := realnix.Start(t, realnix.Get(t, name), nil)
			root := d.HostPath("/tmp/embedded")
			if err := run(t.Context(), root, derivations, new(bytes.Buffer)); err != nil {
				t.Fatal(err)
			}
			d.MustRun(t, "nix-store", "--store", "/tmp/embedded", "--verify", "--check-contents")
			got := d.MustRun(t, "nix-store", "--store", "/tmp/embedded", "--query", "--requisites", "/nix/store/p336jzwqmljr1n579nrsx4narbgw6az9-list")
			want := "/nix/store/j48maqbqr8czzbrp09929lz6y79hpwnr-derivations\n/nix/store/p336jzwqmljr1n579nrsx4narbgw6az9-list\n"
			if got != want {
				t.Errorf("Nix finds %q", got)
			}
		})
	}
}
