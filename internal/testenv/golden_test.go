package testenv_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
)

// consumers says which package's tests read the files of each folder of golden data, each of
// them, and why nobody reads some.
var consumers = map[string]string{
	"store/build-result":                     "not yet: pix does not write build results as JSON",
	"store/common-protocol":                  "protocol",
	"store/content-address":                  "storepath",
	"store/derivation":                       "derivation",
	"store/derivation/ca":                    "derivation",
	"store/derivation/ca/derivation-options": "derivation",
	"store/derivation/ia":                    "derivation",
	"store/derivation/ia/derivation-options": "derivation",
	"store/derived-path":                     "derivation",
	"store/nar-info/json-1":                  "narinfo",
	"store/nar-info/json-2":                  "narinfo",
	"store/nar-info/json-3":                  "narinfo",
	"store/outputs-spec":                     "derivation",
	"store/outputs-spec/extended":            "derivation",
	"store/path-info/json-1":                 "store",
	"store/path-info/json-2":                 "store",
	"store/path-info/json-3":                 "store",
	"store/realisation":                      "signature, the fingerprints and signatures; store, the realisations",
	"store/serve-protocol":                   "nobody: the protocol of nix-store --serve is not spoken by pix",
	"store/store-path":                       "storepath",
	"store/store-reference":                  "not yet: pix opens few kinds of stores",
	"store/worker-protocol":                  "protocol",
	"util/hash":                              "nixhash",
	"util/memory-source-accessor":            "nobody: a file tree in Nix's memory, which pix has no use for",
	"util/nar-listing":                       "nar",
	"util/nars":                              "nar",
}

// A folder of golden data that nobody reads, and that has no reason for it, is a failure.
func TestGoldenDataIsConsumed(t *testing.T) {
	root := testenv.NixData(t, "")
	seen := make(map[string]bool)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Dir(name) == "." {
			return err
		}
		folder := path.Dir(name)
		if consumers[folder] == "" && !seen[folder] {
			t.Errorf("nobody consumes %s", filepath.FromSlash(folder))
		}
		seen[folder] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range consumers {
		if !seen[folder] {
			t.Errorf("%s is gone from the golden data", folder)
		}
	}
}
