package localstore

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pix/store"
	"pix/storepath"
)

// streamDir is the environment variable with the root of a process that TestKilledStream has started.
const streamDir = "PIX_TEST_STREAM_IN"

// streamTexts is the number of texts in the stream of TestKilledStream.
func streamTexts() int { return tenth(2000) }

// TestStreamChild is not a test. It is the child process.
func TestStreamChild(t *testing.T) {
	dir := os.Getenv(streamDir)
	if dir == "" {
		t.Skip("only for TestKilledStream")
	}
	s, err := Open(context.Background(), &Options{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	texts := textChain(t, s.Dir(), streamTexts())
	stream := func(yield func(store.Import, error) bool) {
		for _, text := range texts {
			os.Stdout.WriteString("t")
			if !yield(text, nil) {
				return
			}
		}
	}
	if err := s.AddMultipleToStore(t.Context(), len(texts), stream, nil); err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("t")
	select {} // until the process is killed
}

// A process that is killed while it adds a stream of texts leaves a prefix of them valid, and their contents complete.
// Another process can add the same stream immediately.
func TestKilledStream(t *testing.T) {
	n := streamTexts()
	for range tenth(30) {
		root := t.TempDir()
		killStream(t, root, 1+rand.IntN(n+1))
		s := open(t, Options{Root: root})
		if remain, lines := verify(t, s, true, false); remain {
			t.Fatalf("%q", lines)
		}
		texts := textChain(t, s.Dir(), n)
		checkPrefix(t, s, texts)
		if err := s.AddMultipleToStore(t.Context(), n, imports(texts), nil); err != nil {
			t.Fatal(err)
		}
		if remain, lines := verify(t, s, true, false); remain {
			t.Fatalf("%q", lines)
		}
		if valid, err := s.QueryAllValidPaths(t.Context()); err != nil || len(valid) != n {
			t.Errorf("%d valid paths, %v", len(valid), err)
		}
	}
}

// checkPrefix returns an error unless the valid paths are the first ones of the texts.
func checkPrefix(t *testing.T, s *Store, texts []store.Import) {
	t.Helper()
	all, err := s.QueryAllValidPaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	valid := make(map[storepath.Path]bool)
	for _, path := range all {
		valid[path] = true
	}
	for i, text := range texts[:len(all)] {
		if !valid[text.Info.Path] {
			t.Fatalf("text %d is not valid, but %d are", i, len(all))
		}
	}
	t.Logf("%d valid texts", len(all))
}

// killStream starts a process that adds a stream of texts, and kills it when it has reached one of them.
func killStream(t *testing.T, root string, at int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStreamChild$")
	cmd.Env = append(os.Environ(), streamDir+"="+root)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, at)
	if n, err := io.ReadFull(stdout, said); err != nil || strings.Trim(string(said[:n]), "t") != "" {
		t.Errorf("the child printed %q, %v", said[:n], err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the child was not killed: %v", err)
	}
}
