package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// profile runs a verb of pix profile on a profile of two generations. It replaces the directory and the times, which differ in
// each run.
func (x *exampleStore) profile(args ...string) string {
	x.t.Helper()
	link, err := filepath.Abs("service")
	x.check(err)
	if _, err := os.Lstat(link); err != nil {
		x.pix("profile", "set", "--profile", link, string(exampleOutput))
		x.pix("profile", "set", "--profile", link, string(x.addUserEnvironment()))
	}
	text := x.pix(append([]string{"profile", args[0], "--profile", link}, args[1:]...)...)
	text = strings.ReplaceAll(text, filepath.Dir(link), "/nix/var/nix/profiles")
	return regexp.MustCompile(`"created": \d+`).ReplaceAllString(text, `"created": 1700000000`)
}

// addUserEnvironment adds a generation as 'nix profile' makes it, with the new version of the package.
func (x *exampleStore) addUserEnvironment() storepath.Path {
	dir := x.t.TempDir()
	x.check(os.Symlink(string(x.new)+"/see", filepath.Join(dir, "see")))
	x.check(os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"version":3,"elements":{"viewer":{"active":true,"priority":5,`+
		`"attrPath":"packages.x86_64-linux.viewer","outputs":null,"originalUrl":"github:example/viewer",`+
		`"url":"github:example/viewer/0123456789abcdef0123456789abcdef01234567","storePaths":["`+string(x.new)+`"]}}}`), 0o666))
	var archive bytes.Buffer
	ctx := x.t.Context()
	x.check(nar.Dump(ctx, &archive, dir, nil))
	info, err := x.daemon.Store.(store.Adder).AddToStore(ctx, "profile", storepath.NAR, nixhash.SHA256, []storepath.Path{x.new}, &archive, nil)
	x.check(err)
	return info.Path
}
