// Package testenv finds what some tests need beside Go, through the environment:
//
//	PIX_NIX_DATA      Nix's own golden data: the folder with "store" and "util" in it
//	PIX_CORPUS        collections of real derivations, with answers
//	PIX_BUILDER_DATA  outcomes of Nix's builds
//	PIX_TEST_REQUIRE  a list with commas of what must be there: daemons, data, corpus; and
//	                  release, which asks for a test that takes long
//
// A test that does not find what it needs skips, and says so; if that is required, as it is
// in the project's own check, it fails.
package testenv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Requires reports whether what, one of "daemons", "data", "corpus" and "release", is required.
func Requires(what string) bool {
	return slices.Contains(strings.Split(os.Getenv("PIX_TEST_REQUIRE"), ","), what)
}

// Missing skips the test because of what is missing, or fails it if that is required.
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

// MoreNixData returns a folder of the golden data that is kept beside the rest, in a folder of the
// same name and "-more".
func MoreNixData(t testing.TB, folder string) string {
	t.Helper()
	name := filepath.Join(NixData(t, "")+"-more", filepath.FromSlash(folder))
	if _, err := os.Stat(name); err != nil {
		t.Skip("there is no such golden data: ", err)
	}
	return name
}

// Corpus returns the folder of corpora.
func Corpus(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("PIX_CORPUS")
	if folder == "" {
		Missing(t, "corpus", "PIX_CORPUS does not name the folder of corpora")
	}
	return folder
}
