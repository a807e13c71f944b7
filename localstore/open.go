package localstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"pix/internal/modes"
	"pix/localstore/internal/flock"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/regular"
)

// reservedSize is how many bytes of disk are set aside unless the options say otherwise, in a file
// that garbage collection deletes first: on a full disk the database could not be written to. It
// is the default of Nix's gc-reserved-space.
const reservedSize = 8 << 20

// IsWritable reports whether there is a store with a database that this process may write to.
// It opens nothing.
func IsWritable(opts *Options) bool {
	if opts == nil {
		opts = new(Options)
	}
	l, err := newLayout(opts)
	return err == nil && isWritable(l.databaseFile())
}

// isWritable reports whether this process may write to a file.
func isWritable(name string) bool { return unix.Access(name, unix.R_OK|unix.W_OK) == nil }

// hasDatabase reports whether the store has a complete database. The schema file is written last.
func (s *shared) hasDatabase() bool {
	_, err := os.Lstat(s.schemaFile())
	return err == nil
}

// checkExists returns a [*NoStoreError] if there is no database. Programs that only read need no schema file,
// which images of containers lack.
func (s *shared) checkExists() error {
	_, err := os.Stat(s.databaseFile())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return &NoStoreError{s.info(), s.databaseFile()}
	}
	return err
}

// makeDirs makes the directories of a store that are not there.
func (s *shared) makeDirs() error {
	if !s.opts.AllowSymlinks {
		if err := s.checkNotLinked(); err != nil {
			return err
		}
	}
	dirs := []string{
		s.links(), // and with it the store directory
		filepath.Dir(s.databaseFile()),
		filepath.Join(s.profiles(), "per-user"),
		filepath.Join(s.gcRoots(), "per-user"),
		s.tempRoots(),
	}
	created := !s.hasDatabase() // a killed process may have made the directories and synced none
	for _, dir := range dirs {
		if _, err := os.Lstat(dir); err != nil {
			created = true
		}
		if err := modes.MkdirAll(dir); err != nil {
			return err
		}
	}
	if created && s.opts.SyncObjects {
		return objects.SyncParents(dirs)
	}
	return nil
}

// inStoreDir calls open, which makes a file in the store directory. If the directory was removed while the store was
// open, inStoreDir makes it again, and calls open once more.
func inStoreDir[F any](s *shared, open func() (F, error)) (F, error) {
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) && s.makeDirs() == nil {
		f, err = open()
	}
	return f, err
}

// checkNotLinked returns an error if the store directory, or a directory that it lies in, is
// a symlink: objects could be changed by changing the link.
func (s *shared) checkNotLinked() error {
	for dir := s.storeName; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return &fs.PathError{Op: "open store", Path: dir, Err: errors.New("it is a symlink, which is not allowed for a store directory and those that it lies in (see allow-symlinked-store)")}
		}
	}
	return nil
}

// reserveSpace makes the file that keeps some disk free. A store can do without.
func (s *shared) reserveSpace() {
	size := max(0, cmp.Or(s.opts.ReservedSpace, reservedSize))
	nixdb.Reserve(s.reserved(), size)
}

// giveUpReserved deletes the file that keeps some disk free, before an operation that frees space.
func (s *shared) giveUpReserved() error { return objects.IgnoreNotExist(os.Remove(s.reserved())) }

// takeBigLock takes the shared lock that every process holds while it has the store open. A process that changes
// the schema needs it exclusively.
func (s *shared) takeBigLock(ctx context.Context) (*os.File, error) {
	f, err := flock.Open(s.bigLockFile())
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(ctx, f.File, flock.Shared, func() { say(ctx, "waiting for the big Nix store lock...") }); err != nil {
		f.Close()
		return nil, fmt.Errorf("waiting for an upgrade of the store's database: %w", err)
	}
	return f.File, nil
}

func (s *shared) releaseBigLock() {
	if s.bigLock != nil {
		s.bigLock.Close() // and with it the lock
		s.bigLock = nil
	}
}

// openDatabase opens the database, and makes one where there is none. The caller has the big
// lock, if there is anything to be changed.
func (s *shared) openDatabase(ctx context.Context) (*database, error) {
	version, err := s.readSchemaVersion()
	if err != nil {
		return nil, err
	}
	create := version == 0 && !s.opts.ReadOnly
	opened, err := nixdb.Open(ctx, s.databaseFile(), &nixdb.Options{
		Create: create, ReadOnly: s.opts.ReadOnly, NoSync: s.opts.NoSync, NoWAL: s.opts.NoWAL,
	})
	if err != nil {
		return nil, err
	}
	db := &database{opened}
	if err := s.checkDir(ctx, db); err != nil {
		db.Close()
		return nil, err
	}
	if create {
		s.rootsState().MakeSocket() // the first collector can also make it
		// Two processes that do this at once do the same.
		if err := writeWhole(s.schemaFile(), strings.NewReader(strconv.Itoa(nixdb.SchemaVersion))); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// checkDir returns an error if the paths in a database are in another store directory than ours.
func (s *shared) checkDir(ctx context.Context, db *database) error {
	return db.read(ctx, func(c *conn) error {
		return c.query("select path from ValidPaths limit 1", func(row *sqlite.Stmt) error {
			dir := path.Dir(row.ColumnText(0))
			if dir == string(s.dir) {
				return nil
			}
			return &SchemaError{File: s.databaseFile(), Reason: fmt.Sprintf("its paths are in the store directory %s, not in %s; a store has one, so name another store", dir, s.dir)}
		})
	})
}

// readSchemaVersion returns the version of the schema that a database has: one that can be used
// here, or 0 if there is no database.
func (s *shared) readSchemaVersion() (int, error) {
	f, err := regular.Open(s.schemaFile(), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("it holds %.40q and not the number of a schema", text)}
	case version > nixdb.SchemaVersion:
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("the store has schema %d of a newer Nix, and only %d is known here; use a newer pix", version, nixdb.SchemaVersion)}
	case version < nixdb.SchemaVersion:
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("the store has schema %d of an old Nix, and only %d is known here; any Nix from 2.0 on upgrades it when it opens the store", version, nixdb.SchemaVersion)}
	}
	return version, nil
}

// writeWhole writes what is read to a file, in such a way that everybody sees it whole or not
// at all, also after a crash.
func writeWhole(name string, contents io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it was renamed
	_, err = io.Copy(f, contents)
	err = errors.Join(err, f.Chmod(modes.File), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
