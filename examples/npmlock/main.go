// Command npmlock generates packages from a lock file of npm: a download for each dependency, with its hash from the lock
// file, and a build that uses all downloads. A new version of one dependency causes one new download and one new build.
//
// (The hashes in go.sum, the lock file of Go modules, are hashes of lists of file hashes and not of the downloaded
// files. So a store cannot verify them.)
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"pix/examples/internal/run"
	"pix/pixpkgs"
)

//go:embed testdata/package-lock.json
var lockFile []byte

// A lock has the used parts of package-lock.json.
type lock struct {
	Name     string
	Version  string
	Packages map[string]struct{ Version, Resolved, Integrity string }
}

// fetch declares the downloads, by the names of the dependencies in imports.
func (l *lock) fetch() (map[string]*pixpkgs.Package, error) {
	downloads := map[string]*pixpkgs.Package{}
	for folder, locked := range l.Packages {
		if folder == "" {
			continue // the project itself
		}
		p, err := pixpkgs.FetchURL(locked.Resolved, locked.Integrity, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
		downloads[strings.TrimPrefix(folder, "node_modules/")] = p
	}
	return downloads, nil
}

// generate declares the build, which writes an index of the dependencies and their paths.
func generate(lockFile []byte) (*pixpkgs.Package, error) {
	var l lock
	if err := json.Unmarshal(lockFile, &l); err != nil {
		return nil, err
	}
	downloads, err := l.fetch()
	if err != nil {
		return nil, err
	}
	var index []any
	for _, name := range slices.Sorted(maps.Keys(downloads)) {
		index = append(index, pixpkgs.Sprintf("%s %s\n", path.Base(name), downloads[name]))
	}
	return pixpkgs.Derive(pixpkgs.Spec{
		Name:    l.Name + "-" + l.Version,
		System:  "x86_64-linux",
		Builder: "/bin/sh",
		Args:    []any{"-c", `printf %s "$index" > $out`},
		Env:     map[string]any{"index": pixpkgs.Join("", index...)},
	})
}

func declare(context.Context) ([]*pixpkgs.Package, error) {
	p, err := generate(lockFile)
	return []*pixpkgs.Package{p}, err
}

func main() { run.Main(declare) }
