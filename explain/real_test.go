package explain_test

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"

	"pix/daemon"
	"pix/explain"
	"pix/internal/realnix"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Objects that real Nix has added are explained without problems: every method with every algorithm, and references.
func TestPathsOfRealNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{
		"experimental-features": "nix-command git-hashing blake3-hashes",
	}})
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var file bytes.Buffer
	if err := nar.WriteFile(&file, strings.NewReader("hello\n"), 6); err != nil {
		t.Fatal(err)
	}
	var paths []storepath.Path
	add := func(m storepath.Method, a nixhash.Algorithm, references []storepath.Path) {
		t.Helper()
		contents := io.Reader(bytes.NewReader(file.Bytes()))
		info, err := c.AddToStore(t.Context(), "object", m, a, references, contents, nil)
		if err != nil {
			t.Fatalf("%s %s: %v", m, a, err)
		}
		paths = append(paths, info.Path)
	}
	for _, a := range []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3} {
		add(storepath.Flat, a, nil)
		add(storepath.NAR, a, nil)
	}
	add(storepath.Git, nixhash.SHA1, nil)
	add(storepath.NAR, nixhash.SHA256, paths[:2])
	text, err := store.AddText(t.Context(), c, "text", "hello", paths[:3])
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, text) {
		info, err := c.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		archive, err := store.ReadNAR(t.Context(), c, path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := explain.Path(info, archive)
		archive.Close()
		if err != nil || len(e.Problems) > 0 {
			t.Fatal(info.CA, err, e)
		}
		if s := stepOf(t, e, explain.StepPath, ""); s.Result != string(path) {
			t.Errorf("%s: the path is %s, want %s", info.CA, s.Result, path)
		}
		if _, err := exec.LookPath("b3sum"); err != nil && info.CA.Hash().Algorithm() == nixhash.BLAKE3 {
			t.Logf("b3sum is not installed, so the script of %s is not run", info.CA)
			recompute(t, e)
			continue
		}
		for _, shell := range shells(t) {
			runScript(t, shell, e)
		}
	}
}
