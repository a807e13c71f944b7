package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"pix/builder/sandbox"
	"pix/internal/testenv"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// The paths depend on the version of Go, whose output is the builder.
const output = `built /nix/store/HASH-hello
hello, gopher!
hello stays: the root "hello" points to it
who may be deleted: nothing needs it
tool stays: hello refers to it
`

var hashPart = regexp.MustCompile(`/nix/store/[0-9a-z]{32}-`)

func TestRun(t *testing.T) {
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	for range 2 { // the second run finds the paths in the store
		var out bytes.Buffer
		if err := run(t.Context(), root, &out); err != nil {
			t.Fatal(err)
		}
		if got := hashPart.ReplaceAllString(out.String(), "/nix/store/HASH-"); got != output {
			t.Errorf("got\n%swant\n%s", got, output)
		}
	}
}
