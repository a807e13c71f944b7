package main

import (
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// storePaths returns the paths of a store, or nil if it does not answer before ctx ends. For the store of this
// machine it reads the store directory, which is faster than a query.
func (a *app) storePaths(ctx context.Context, uri string, dir storepath.Dir) []storepath.Path {
	if a.isMachineStore(uri) {
		if paths := readStoreDir(dir); len(paths) > 0 {
			return paths
		}
	}
	var paths []storepath.Path
	a.queryQuietly(ctx, uri, func(ctx context.Context, s store.Store) (err error) {
		paths, err = store.AllValidPaths(ctx, s)
		return err
	})
	if ctx.Err() != nil {
		return nil // the query may still be writing to paths
	}
	return paths
}

// outputNames returns the names of a derivation's outputs, sorted.
func (a *app) outputNames(ctx context.Context, drv storepath.Path) (names []string) {
	if a.isMachineStore("") {
		if b, err := os.ReadFile(string(drv)); err == nil {
			if d, err := derivation.ParseBytes(b); err == nil {
				return slices.Collect(d.Outputs.Keys())
			}
		}
	}
	var outputs map[string]storepath.Path
	a.queryQuietly(ctx, "", func(ctx context.Context, s store.Store) (err error) {
		outputs, err = store.OutputMap(ctx, s, drv)
		return err
	})
	if ctx.Err() != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(outputs))
}

// isMachineStore reports whether the objects of the store are in the store directory of this machine.
func (a *app) isMachineStore(uri string) bool {
	uri, err := a.storeURI(openOptions{uri: uri})
	return err == nil && slices.Contains([]string{"", "auto", "daemon", "local"}, uri) && a.getenv("NIX_DAEMON_SOCKET_PATH") == "" && a.getenv("NIX_STATE_DIR") == ""
}

// readStoreDir returns the store paths that exist in the store directory. They include paths that are not valid,
// such as the outputs of interrupted builds.
func readStoreDir(dir storepath.Dir) []storepath.Path {
	f, err := os.Open(string(dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // an incomplete list is good enough
	var paths []storepath.Path
	for _, name := range names {
		if p, err := dir.ParseBase(name); err == nil && !strings.HasSuffix(name, ".lock") {
			paths = append(paths, p)
		}
	}
	return paths
}

// queryQuietly calls query with the opened store, and returns when ctx ends, even if the store does not answer.
// The user is typing a command line, so it ignores errors, prints nothing, and keeps ssh from asking for
// a password.
func (a *app) queryQuietly(ctx context.Context, uri string, query func(context.Context, store.Store) error) {
	_ = orInterrupted(ctx, func() error {
		quiet := *a
		quiet.stderr = io.Discard
		quiet.trace = new(traceFile)
		quiet.getenv = func(name string) string {
			if name == "NIX_SSHOPTS" {
				return "-oBatchMode=yes " + a.getenv(name)
			}
			return a.getenv(name)
		}
		s, err := quiet.openWith(ctx, openOptions{uri: uri, access: toRead})
		if err != nil {
			return err
		}
		defer s.Close()
		return query(ctx, s)
	})
}

// completeFile returns the directories and other files, of the given types, whose names begin with path.
func completeFile(path string, types os.FileMode) (found []string) {
	dir, prefix := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "/"))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || e.Type()&types == 0 {
			continue
		}
		name := dir + e.Name()
		if e.IsDir() {
			name += "/"
		}
		found = append(found, name)
	}
	return found
}
