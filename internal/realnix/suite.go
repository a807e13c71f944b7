package realnix

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/testenv"
)

// A Suite is an installed version of Nix.
type Suite struct {
	Name    string // of the Debian release: "bookworm"
	Version string // of Nix: "2.8.0"
	Root    string // the directory that scripts/nix-daemons created
}

// names are all suites, oldest Nix first.
var names = []string{"bullseye", "bookworm", "trixie", "sid"}

// required reports whether the suite must be installed in CI.
func (s Suite) required() bool { return s.Name == "bookworm" || s.Name == "trixie" }

// Suites returns the suites that are installed, oldest Nix first.
func Suites() []Suite {
	var found []Suite
	for _, name := range names {
		if s, err := find(name); err == nil {
			found = append(found, s)
		}
	}
	return found
}

// Each runs f for each suite, as a subtest with its name. The subtest of a suite that is not installed is skipped or fails,
// as in [Get].
func Each(t *testing.T, f func(t *testing.T, s Suite)) {
	t.Helper()
	for _, name := range names {
		t.Run(name, func(t *testing.T) { f(t, Get(t, name)) })
	}
}

// Get returns the suite with a name. If it is not installed, the test is skipped, or, if the suite is required, fails.
func Get(t testing.TB, name string) Suite {
	t.Helper()
	s, err := find(name)
	if err != nil {
		unavailable(t, Suite{Name: name}, err)
	}
	return s
}

// find looks up a suite in $PIX_NIX_DAEMONS.
func find(name string) (Suite, error) {
	if !slices.Contains(names, name) {
		return Suite{}, fmt.Errorf("unknown suite %q; the suites are %s", name, strings.Join(names, ", "))
	}
	dir := os.Getenv("PIX_NIX_DAEMONS")
	if dir == "" {
		return Suite{}, fmt.Errorf("real Nix is not installed: run scripts/nix-daemons DIR and set PIX_NIX_DAEMONS=DIR")
	}
	if !filepath.IsAbs(dir) {
		// Tests run in the directories of their packages, where a relative path would have different meanings.
		return Suite{}, fmt.Errorf("PIX_NIX_DAEMONS=%s is not an absolute path", dir)
	}
	s := Suite{Name: name, Root: filepath.Join(dir, name)}
	stamp, err := os.ReadFile(filepath.Join(s.Root, ".nix-daemons"))
	if err != nil {
		return Suite{}, fmt.Errorf("the real Nix of %s is not installed: run scripts/nix-daemons %s %s (%w)", name, dir, name, err)
	}
	for line := range strings.Lines(string(stamp)) {
		if version, ok := strings.CutPrefix(line, "nix "); ok {
			s.Version = strings.TrimSpace(version)
			return s, nil
		}
	}
	return Suite{}, fmt.Errorf("the version of Nix in %s is unknown: remove it and run scripts/nix-daemons again", s.Root)
}

// unavailable ends a test whose daemon is not available. The test fails if $PIX_TEST_REQUIRE contains "daemons" and the suite
// is a required one, and is skipped otherwise.
func unavailable(t testing.TB, s Suite, err error) {
	t.Helper()
	if !testenv.Requires("daemons") {
		t.Skip(err)
	}
	if s.required() {
		t.Fatal(err)
	}
	t.Logf("ATTENTION: NOT TESTED with the Nix of %s: %v", s.Name, err)
	t.SkipNow()
}
