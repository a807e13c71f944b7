package storepath_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
	"pix/nixhash"
	"pix/storepath"
)

func readGolden(t *testing.T, folder string, each func(text []byte) error) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.NixData(t, folder), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = each(text)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Nix's JSON writes a store path as its last component.
func TestGoldenPaths(t *testing.T) {
	readGolden(t, "store/store-path", func(text []byte) error {
		var base string
		if err := json.Unmarshal(text, &base); err != nil {
			return err
		}
		p, err := storepath.DefaultDir.ParseBase(base)
		if err == nil && p.Base() != base {
			t.Errorf("%q comes back as %q", base, p.Base())
		}
		return err
	})
}

// Nix's JSON writes a content address as the name of its method and the hash in SRI form.
func TestGoldenContentAddresses(t *testing.T) {
	readGolden(t, "store/content-address", func(text []byte) error {
		var object struct {
			Method string       `json:"method"`
			Hash   nixhash.Hash `json:"hash"`
		}
		if err := json.Unmarshal(text, &object); err != nil {
			return err
		}
		m, err := storepath.ParseMethod(object.Method)
		if err != nil {
			return err
		}
		ca, err := storepath.NewContentAddress(m, object.Hash)
		if err == nil && (ca.Method().String() != object.Method || ca.Hash() != object.Hash) {
			t.Errorf("%s comes back as %s", text, ca)
		}
		return err
	})
}
