package nixdb

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// openTest opens a database, and closes it when the test ends.
func openTest(t *testing.T, file string, opts Options) *DB {
	t.Helper()
	d, err := Open(t.Context(), file, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// register makes a path valid.
func register(t *testing.T, d *DB, path storepath.Path) *store.PathInfo {
	t.Helper()
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1}
	err := d.Write(t.Context(), func(c *Conn) error {
		c.Registered(info, true)
		return c.Exec("insert into ValidPaths (path, hash, registrationTime) values (?, ?, 0)", string(path), info.NARHash.WithBase16())
	})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

const path1, path2, path3 = "/nix/store/00000000000000000000000000000001-x", "/nix/store/00000000000000000000000000000002-x", "/nix/store/00000000000000000000000000000003-x"

// A registered info is cached only if no other transaction came between its transaction and the cache.
func TestCacheBesideOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db.sqlite")
	ours := openTest(t, file, Options{Create: true})
	theirs := openTest(t, file, Options{})
	info := register(t, ours, path1)
	if cached, _ := ours.CachedInfo(path1); cached == nil {
		t.Error("a registered path is not cached")
	}
	before, known := ours.infos.moment()
	if !known {
		t.Fatal("the state is not known")
	}
	register(t, theirs, path2)
	if cached, _ := ours.CachedInfo(path1); cached != nil {
		t.Error("a path is cached after a transaction of another process")
	}
	_, moment := ours.CachedInfo(path1)
	register(t, theirs, path3)
	ours.CacheInfo(info, moment)
	ours.infos.of = before
	ours.infos.advance(before, []registered{{info, true}})
	if cached, _ := ours.CachedInfo(path1); cached != nil {
		t.Error("a possibly stale info was cached")
	}
}

// A statement waits for a transaction of another process until its context is done.
func TestBusyEndsWithContext(t *testing.T) {
	for _, noWAL := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "db.sqlite")
		ours := openTest(t, file, Options{Create: true, NoWAL: noWAL})
		theirs := openTest(t, file, Options{NoWAL: noWAL})
		err := theirs.Write(t.Context(), func(*Conn) error {
			ended := errors.New("ended")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, ended)
			defer cancel()
			if err := ours.Write(ctx, func(*Conn) error { return nil }); !errors.Is(err, ended) {
				t.Errorf("without WAL %v: %v, want the cause of the context", noWAL, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		register(t, ours, path1)
	}
}

// If a killed process has left a lock directory, the error names it after a while.
func TestStaleLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db.sqlite")
	d := openTest(t, file, Options{Create: true, NoWAL: true})
	c := &Conn{file: d.file, noWAL: true}
	if c.isStale(time.Now().Add(-2 * staleLockAge)) {
		t.Error("a lock that does not exist is stale")
	}
	err := d.Write(t.Context(), func(*Conn) error {
		if c.isStale(time.Now().Add(-2 * staleLockAge)) {
			t.Error("a lock that is newer than the wait is stale")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// If a file is not a database, or the database of another program, the error says so.
func TestForeignDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db.sqlite")
	d := openTest(t, file, Options{Create: true})
	err := d.Write(t.Context(), func(c *Conn) error { return c.Exec("alter table ValidPaths rename to Other") })
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := Open(t.Context(), file, &Options{ReadOnly: true}); !errors.As(err, new(*SchemaError)) {
		t.Errorf("%v, want a SchemaError", err)
	}
}
