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

	"pix/internal/flock"
	"pix/internal/modes"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/regular"
)

// reservedSize is the default of [Options.ReservedSpace] in bytes, and of Nix's gc-reserved-space.
const reservedSize = 8 << 20

// IsWritable reports whether a store exists and this process may write to its database. It does not open the store.
func IsWritable(opts *Options) bool {
	if opts == nil {
		opts = new(Options)
	}
	l, err := newLayout(opts)
	return err == nil && isWritable(l.databaseFile())
}

// isWritable reports whether this process may write to a file.
func isWritable(name string) bool { return unix.Access(name, unix.R_OK|unix.W_OK) == nil }

// hasDatabase reports whether the store has a complete database: the schema file is written last.
func (s *shared) hasDatabase() bool {
	_, err := os.Lstat(s.schemaFile())
	return err == nil
}

// checkExists returns a [*NoStoreError] if the database does not exist. It does not require the schema file, which many
// container images do not have.
func (s *shared) checkExists() error {
	_, err := os.Stat(s.databaseFile())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return &NoStoreError{s.info(), s.databaseFile()}
	}
	return err
}

// createDirs creates the missing directories of a store.
func (s *shared) createDirs() error {
	if !s.opts.AllowSymlinks {
		if err := s.checkNotLinked(); err != nil {
			return err
		}
	}
	dirs := []string{
		s.links(), // creates the store directory too
		filepath.Dir(s.databaseFile()),
		filepath.Join(s.profiles(), "per-user"),
		filepath.Join(s.gcRoots(), "per-user"),
		s.tempRoots(),
	}
	created := !s.hasDatabase() // a process may have created the directories and been killed before it synced them
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

// inStoreDir calls create, which creates a file in the store directory. If the directory was deleted while the store
// was open, inStoreDir creates the directory and calls create again.
func inStoreDir[F any](s *shared, create func() (F, error)) (F, error) {
	f, err := create()
	if errors.Is(err, fs.ErrNotExist) && s.createDirs() == nil {
		f, err = create()
	}
	return f, err
}

// checkNotLinked returns an error if the store directory or a directory above it is a symlink: a change of the symlink
// would change all objects.
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
			return &fs.PathError{Op: "open store", Path: dir, Err: errors.New("it is a symlink, which is not allowed for a store directory and the directories above it (see allow-symlinked-store)")}
		}
	}
	return nil
}

// reserveSpace creates the file that reserves space on the disk. It ignores errors, because a store works without it.
func (s *shared) reserveSpace() {
	size := max(0, cmp.Or(s.opts.ReservedSpace, reservedSize))
	nixdb.Reserve(s.reserved(), size)
}

// freeReserved deletes the file that reserves space, before an operation that frees more.
func (s *shared) freeReserved() error { return objects.IgnoreNotExist(os.Remove(s.reserved())) }

// takeBigLock takes the shared lock that every process holds while it has the store open. A process that changes
// the schema needs it exclusively.
func (s *shared) takeBigLock(ctx context.Context) (*os.File, error) {
	f, err := flock.Open(s.bigLockFile())
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(ctx, f.File, flock.Shared, func() { logf(ctx, "waiting for the big Nix store lock...") }); err != nil {
		f.Close()
		return nil, fmt.Errorf("waiting for an upgrade of the store's database: %w", err)
	}
	return f.File, nil
}

func (s *shared) releaseBigLock() {
	if s.bigLock != nil {
		s.bigLock.Close() // releases the lock
		s.bigLock = nil
	}
}

// openDatabase opens the database, or creates it. The caller holds the big lock, unless the store is read-only.
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
		s.rootsState().MakeSocket() // if it fails, the first collector creates the socket
		// Two processes that create the store at the same time write the same text.
		if err := writeFileAtomically(s.schemaFile(), strings.NewReader(strconv.Itoa(nixdb.SchemaVersion))); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// checkDir returns an error if the paths in a database belong to another store directory.
func (s *shared) checkDir(ctx context.Context, db *database) error {
	return db.read(ctx, func(c *conn) error {
		return c.query("select path from ValidPaths limit 1", func(row *sqlite.Stmt) error {
			dir := path.Dir(row.ColumnText(0))
			if dir == string(s.dir) {
				return nil
			}
			return &SchemaError{File: s.databaseFile(), Reason: fmt.Sprintf("its paths are in the store directory %s, not in %s; use that store directory or another store", dir, s.dir)}
		})
	})
}

// readSchemaVersion returns the version of the database schema, or 0 if there is no database. It returns a
// [*SchemaError] if the version is not supported.
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
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("it contains %.40q instead of a schema number", text)}
	case version > nixdb.SchemaVersion:
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("the store has schema %d of a newer Nix, and this pix supports only %d; use a newer pix", version, nixdb.SchemaVersion)}
	case version < nixdb.SchemaVersion:
		return 0, &SchemaError{File: s.schemaFile(), Reason: fmt.Sprintf("the store has schema %d of an old Nix, and this pix supports only %d; Nix 2.0 or later upgrades it when it opens the store", version, nixdb.SchemaVersion)}
	}
	return version, nil
}

// writeFileAtomically writes a file in one step: other processes see the whole file or none, even after a power cut.
func writeFileAtomically(name string, contents io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = io.Copy(f, contents)
	err = errors.Join(err, f.Chmod(modes.File), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
