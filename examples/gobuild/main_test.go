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

// The path depends on the version of Go.
var want = regexp.MustCompile(`^compiled /nix/store/[0-9a-z]{32}-hello
compiled it again: the bytes are equal
hello from linux
$`)

func TestRun(t *testing.T) {
	if os.Getenv("PIX_LONG") == "" {
		t.Skip("PIX_LONG is not set: compiling takes up to a minute")
	}
	if err := sandbox.Check(t.Context()); err != nil {
		t.Skipf("this machine has no sandbox: %v", err)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	goroot, err := findToolchain(t.Context())
	if err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	var out bytes.Buffer
	if err := run(t.Context(), root, goroot, &out); err != nil {
		t.Fatal(err)
	}
	if !want.Match(out.Bytes()) {
		t.Errorf("got\n%s", out.String())
	}
}

func TestIsNeeded(t *testing.T) {
	for file, needed := range map[string]bool{
		"VERSION": true, "bin": true, "bin/go": true, "bin/gofmt": false, "src": true, "src/fmt/print.go": true, "src/fmt/fmt_test.go": false,
		"src/cmd": false, "src/fmt/testdata": false, "doc": false, "pkg/include/textflag.h": true,
	} {
		if isNeeded(file, 0) != needed {
			t.Errorf("%s: %v", file, !needed)
		}
	}
}
