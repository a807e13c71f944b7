package daemon_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// Real daemons answer as the client has computed, with every method and algorithm, with unusual names, with references,
// and when an object is added again.
func TestRealHonestAnswers(t *testing.T) {
	const longName = 211
	names := []string{"x", "+-._?=", "0.drvx", strings.Repeat("n", longName), "hello world.txt"}
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		config := map[string]string{}
		if !strings.HasPrefix(s.Version, "2.3.") {
			config["experimental-features"] = "nix-command git-hashing blake3-hashes"
		}
		c := dialReal(t, realnix.Start(t, s, &realnix.Options{Config: config}))
		ref, err := c.AddTextToStore(t.Context(), "ref", "ref", nil)
		if err != nil {
			t.Fatal(err)
		}
		added := 0
		for _, m := range []storepath.Method{storepath.Text, storepath.Flat, storepath.NAR, storepath.Git} {
			for _, a := range []nixhash.Algorithm{nixhash.MD5, nixhash.SHA1, nixhash.SHA256, nixhash.SHA512, nixhash.BLAKE3} {
				for i, name := range names {
					for _, refs := range [][]storepath.Path{nil, {ref}} {
						for range 2 {
							info, err := c.AddToStore(t.Context(), name, m, a, refs, bytes.NewReader(contentsFor(t, m, i)), nil)
							if errors.As(err, new(*daemon.AnswerError)) || err == nil && info.Path.Name() != name {
								t.Errorf("%s, %s, %q, %d references: %v", m, a, name, len(refs), err)
							}
							if c.Err() != nil {
								t.Fatalf("%s, %s, %q: the connection is broken: %v", m, a, name, c.Err())
							}
							if err == nil {
								added++
							}
						}
					}
				}
			}
		}
		t.Logf("%d objects were added", added)
		if added < 40 {
			t.Errorf("only %d objects were added", added)
		}
	})
}

// contentsFor returns contents that differ by n: a plain file, an archive, or a git object.
func contentsFor(t *testing.T, m storepath.Method, n int) []byte {
	t.Helper()
	contents := strings.Repeat("contents", n*3000)
	switch m {
	case storepath.NAR, storepath.Git:
		var b bytes.Buffer
		if err := nar.WriteFile(&b, strings.NewReader(contents), uint64(len(contents))); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	return []byte(contents)
}
