// Package testenv finds the external data that some tests need, through environment variables:
//
//	PIX_NIX_DATA      Nix's own golden data: the folder that contains "store" and "util"
//	PIX_CORPUS        collections of real derivations, with expected results
//	PIX_BUILDER_DATA  outcomes of builds by Nix
//	PIX_TEST_REQUIRE  a comma-separated list of required data: daemons, data, corpus; and
//	                  release, which enables a slow test
//
// A test without its data is skipped with a message. If the data is required, as in the project's
// own check, the test fails.
package testenv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Requires reports whether something is required: "daemons", "data", "corpus", "builder", "release", "s3"
// or "compressors", the programs xz and zstd.
func Requires(what string) bool {
	return slices.Contains(strings.Split(os.Getenv("PIX_TEST_REQUIRE"), ","), what)
}

// Missing skips the test because data is missing, or fails it if the data is required.
func Missing(t testing.TB, what, why string) {
	t.Helper()
	if Requires(what) {
		t.Fatal(why)
	}
	t.Skip(why)
}

// NixData returns a folder of Nix's golden data, such as "store/derivation".
func NixData(t testing.TB, folder string) string {
	t.Helper()
	root := os.Getenv("PIX_NIX_DATA")
	if root == "" {
		Missing(t, "data", "PIX_NIX_DATA does not name the folder of Nix's golden data")
	}
	return filepath.Join(root, filepath.FromSlash(folder))
}

// MoreNixData returns a folder of the additional golden data, which is in a folder of the same name with
// "-more" appended.
func MoreNixData(t testing.TB, folder string) string {
	t.Helper()
	name := filepath.Join(NixData(t, "")+"-more", filepath.FromSlash(folder))
	if _, err := os.Stat(name); err != nil {
		t.Skip("the golden data does not have this folder: ", err)
	}
	return name
}

// Corpus returns the folder with the collections of derivations.
func Corpus(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("PIX_CORPUS")
	if folder == "" {
		Missing(t, "corpus", "PIX_CORPUS does not name the folder of corpora")
	}
	return folder
}
