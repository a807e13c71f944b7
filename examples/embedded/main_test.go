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
checked the contents of the store: all is as it was added
derivations stays, for it is needed by list, to which the root "derivations" leads
`

const derivations = "../../testdata/corepkgs"

func TestRun(t *testing.T) {
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	for range 2 { // the second time all is there
		var out bytes.Buffer
		if err := run(t.Context(), root, derivations, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != output {
			t.Errorf("got\n%swant\n%s", out.String(), output)
		}
	}

	file := filepath.Join(root, "nix/store/p336jzwqmljr1n579nrsx4narbgw6az9-list")
	if err := os.WriteFile(file, []byte("something else\n"), 0o666); err == nil { // only root may
		if err := run(t.Context(), root, derivations, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("a file was changed, and the error is %v", err)
		}
	}
}

// Nix opens the store, finds nothing wrong, and the same things.
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
