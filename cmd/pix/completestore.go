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

// storePaths returns the paths of the store that the flags and the environment name, as far
// as they can be had before ctx ends. If it is that of this machine, its directory is read,
// which is quicker than to ask.
func (a *app) storePaths(ctx context.Context, dir storepath.Dir) []storepath.Path {
	if a.isMachineStore() {
		if paths := readStoreDir(dir); len(paths) > 0 {
			return paths
		}
	}
	var paths []storepath.Path
	a.askQuietly(ctx, func(ctx context.Context, s store.Store) (err error) {
		paths, err = store.AllValidPaths(ctx, s)
		return err
	})
	if ctx.Err() != nil {
		return nil // what it may still be writing
	}
	return paths
}

// outputNames returns the names of a derivation's outputs, sorted.
func (a *app) outputNames(ctx context.Context, drv storepath.Path) (names []string) {
	if a.isMachineStore() {
		if b, err := os.ReadFile(string(drv)); err == nil {
			if d, err := derivation.ParseBytes(b); err == nil {
				return slices.Collect(d.Outputs.Keys())
			}
		}
	}
	var outputs map[string]storepath.Path
	a.askQuietly(ctx, func(ctx context.Context, s store.Store) (err error) {
		outputs, err = store.OutputMap(ctx, s, drv)
		return err
	})
	if ctx.Err() != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(outputs))
}

// isMachineStore reports whether the store is the one in the store directory of this machine.
func (a *app) isMachineStore() bool {
	uri, err := a.uri()
	return err == nil && slices.Contains([]string{"", "auto", "daemon", "local"}, uri) && a.getenv("NIX_DAEMON_SOCKET_PATH") == "" && a.getenv("NIX_STATE_DIR") == ""
}

// readStoreDir returns what has the name of a store path in a directory. Some of it may not
// be valid; locks never are.
func readStoreDir(dir storepath.Dir) []storepath.Path {
	f, err := os.Open(string(dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1) // what could be read will do
	var paths []storepath.Path
	for _, name := range names {
		if p, err := dir.ParseBase(name); err == nil && !strings.HasSuffix(name, ".lock") {
			paths = append(paths, p)
		}
	}
	return paths
}

// askQuietly asks the store something, and gives up when ctx ends, even if it is stuck. It
// says nothing of what goes wrong, and ssh may not ask for passwords: somebody is typing.
func (a *app) askQuietly(ctx context.Context, ask func(context.Context, store.Store) error) {
	_ = orInterrupted(ctx, func() error {
		quiet := *a
		quiet.stderr = io.Discard
		quiet.traceFile = ""
		quiet.getenv = func(name string) string {
			if name == "NIX_SSHOPTS" {
				return "-oBatchMode=yes " + a.getenv(name)
			}
			return a.getenv(name)
		}
		s, err := quiet.open(ctx, toRead)
		if err != nil {
			return err
		}
		defer s.Close()
		return ask(ctx, s)
	})
}

// completeFile returns the files of some kinds whose names begin with a path.
func completeFile(path string, kinds os.FileMode) (found []string) {
	dir, begin := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "/"))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), begin) || e.Type()&kinds == 0 {
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
