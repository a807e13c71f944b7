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

// A Suite is one installed Nix.
type Suite struct {
	Name    string // of the Debian release: "bookworm"
	Version string // of Nix: "2.8.0"
	Root    string // the directory that scripts/nix-daemons made for it
}

// names are all suites there are, oldest Nix first.
var names = []string{"bullseye", "bookworm", "trixie", "sid"}

// required reports whether CI must have the suite.
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

// Each runs f once for each suite, as a subtest of its name. The subtest of a suite that is not installed skips or fails, as
// [Get] does.
func Each(t *testing.T, f func(t *testing.T, s Suite)) {
	t.Helper()
	for _, name := range names {
		t.Run(name, func(t *testing.T) { f(t, Get(t, name)) })
	}
}

// Get returns the suite of that name. Where it is not installed, the test skips, or, if it is required, fails.
func Get(t testing.TB, name string) Suite {
	t.Helper()
	s, err := find(name)
	if err != nil {
		unavailable(t, Suite{Name: name}, err)
	}
	return s
}

// find looks a suite up below $PIX_NIX_DAEMONS.
func find(name string) (Suite, error) {
	if !slices.Contains(names, name) {
		return Suite{}, fmt.Errorf("there is no suite %q, only %s", name, strings.Join(names, ", "))
	}
	dir := os.Getenv("PIX_NIX_DAEMONS")
	if dir == "" {
		return Suite{}, fmt.Errorf("no real Nix here: run scripts/nix-daemons DIR and set PIX_NIX_DAEMONS=DIR")
	}
	if !filepath.IsAbs(dir) {
		// A test runs in the directory of its package, so this would mean another place in each.
		return Suite{}, fmt.Errorf("PIX_NIX_DAEMONS=%s is not an absolute path", dir)
	}
	s := Suite{Name: name, Root: filepath.Join(dir, name)}
	stamp, err := os.ReadFile(filepath.Join(s.Root, ".nix-daemons"))
	if err != nil {
		return Suite{}, fmt.Errorf("no real Nix of %s here: run scripts/nix-daemons %s %s (%w)", name, dir, name, err)
	}
	for line := range strings.Lines(string(stamp)) {
		if version, ok := strings.CutPrefix(line, "nix "); ok {
			s.Version = strings.TrimSpace(version)
			return s, nil
		}
	}
	return Suite{}, fmt.Errorf("%s does not say which Nix it is: remove it and run scripts/nix-daemons again", s.Root)
}

// unavailable ends a test that cannot have its daemon: it fails where $PIX_TEST_REQUIRE asks for it and the suite is a required
// one, and skips elsewhere.
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
