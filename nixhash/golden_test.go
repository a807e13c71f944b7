package nixhash_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/testenv"
	"pix/nixhash"
)

// Nix's JSON writes hashes in SRI form only.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.NixData(t, "util/hash"), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var h nixhash.Hash
		if err := json.Unmarshal(text, &h); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if again, err := json.Marshal(h); err != nil || string(again) != strings.TrimSpace(string(text)) {
			t.Errorf("%s comes back as %s, %v", file, again, err)
		}
	}
}
