package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// BuilderData returns a file of the outcomes of Nix's builds, which PIX_BUILDER_DATA names the folder of.
func BuilderData(t testing.TB, file string) string {
	t.Helper()
	root := os.Getenv("PIX_BUILDER_DATA")
	if root == "" {
		Missing(t, "builder", "PIX_BUILDER_DATA does not name the folder of the outcomes of Nix's builds")
	}
	return filepath.Join(root, file)
}
