package testenv_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
)

// consumers maps each folder of golden data to the packages whose tests read all its files, or to the reason
// why no test reads them.
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
	"store/serve-protocol":                   "unused: pix does not speak the protocol of nix-store --serve",
	"store/store-path":                       "storepath",
	"store/store-reference":                  "not yet: pix opens few kinds of stores",
	"store/worker-protocol":                  "protocol",
	"util/hash":                              "nixhash",
	"util/memory-source-accessor":            "unused: file trees in the memory of Nix, for which pix has no use",
	"util/nar-listing":                       "nar",
	"util/nars":                              "nar",
}

// Every folder of golden data is read by a test, or listed with a reason.
func TestGoldenDataIsConsumed(t *testing.T) {
	root := testenv.NixData(t, "")
	seen := make(map[string]bool)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Dir(name) == "." {
			return err
		}
		folder := path.Dir(name)
		if consumers[folder] == "" && !seen[folder] {
			t.Errorf("no test reads %s", filepath.FromSlash(folder))
		}
		seen[folder] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range consumers {
		if !seen[folder] {
			t.Errorf("%s is missing from the golden data", folder)
		}
	}
}
