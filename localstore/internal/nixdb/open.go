package nixdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"pix/internal/modes"
	"pix/localstore/internal/regular"
)

// pragmas are the settings of every connection, the same as in Nix. With a write-ahead log of 40,000 pages, many
// registrations fit between two syncs. The size limit makes SQLite truncate the log when the last connection is closed.
const pragmas = `
pragma foreign_keys = 1;
pragma journal_size_limit = 1099511627776;
pragma wal_autocheckpoint = 40000;
`

// Options are the settings of a database.
type Options struct {
	Create   bool // create the database and its tables if they do not exist
	ReadOnly bool // never write
	NoSync   bool // do not wait until transactions are on the disk
	NoWAL    bool // use a rollback journal instead of a write-ahead log
}

// Open opens a database. It returns an [*Error], a [*SchemaError] if it is not a database of Nix, or an
// [*fs.PathError].
func Open(ctx context.Context, file string, opts *Options) (*DB, error) {
	d := &DB{file: file, noWAL: opts.NoWAL, flags: sqlite.OpenReadWrite | sqlite.OpenURI, pragmas: pragmas, infos: new(infoCache)}
	d.uri = databaseURI(file, opts.NoWAL)
	d.readers = make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))
	d.syncs = "normal"
	if opts.NoSync {
		d.syncs = "off"
	}
	d.pragmas += "pragma synchronous = " + d.syncs + ";"
	if err := checkFiles(file); err != nil {
		return nil, err
	}
	if opts.ReadOnly {
		if err := d.openReadOnly(ctx); err != nil {
			d.Close()
			return nil, withReadError(err, file)
		}
		return d, nil
	}
	if err := d.openForWriting(ctx, opts.Create); err != nil {
		return nil, err
	}
	return d, nil
}

// openForWriting opens the write connection and, with create, creates the tables.
func (d *DB) openForWriting(ctx context.Context, create bool) error {
	if create {
		d.flags |= sqlite.OpenCreate
	}
	if err := d.awaitOthers(ctx); err != nil {
		return err
	}
	c, err := d.connect(ctx)
	if d.noWAL && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCantOpen {
		// The database may be in WAL mode, which needs shared memory.
		if err = leaveWAL(ctx, d.file); err == nil {
			c, err = d.connect(ctx)
		}
	}
	if err != nil {
		return withOpenError(err)
	}
	if create {
		err = d.createTables(c)
	} else if err = c.checkTables(); err == nil { // do not change the journal mode of another program's database
		err = c.setJournal(d.noWAL)
	}
	if err != nil {
		c.close()
		return withOpenError(err)
	}
	d.flags &^= sqlite.OpenCreate
	d.writer = make(chan *Conn, 1)
	d.writer <- c
	if d.identity, err = os.Stat(d.file); err != nil {
		c.close()
		return err
	}
	if !d.noWAL {
		d.infos = openInfoCache(d.file)
	}
	return nil
}

// createTables creates the tables of a new database. They are on the disk when it returns, because the caller then
// writes the file schema, which says that they exist.
func (d *DB) createTables(c *Conn) error {
	if err := makeReadable(d.file); err != nil {
		return err
	}
	if err := c.setJournal(d.noWAL); err != nil {
		return err
	}
	return d.durably(c, func() error {
		return c.transaction(func(c *Conn) error { return c.Script(schema) })
	})
}

// checkFiles returns an error if a database, or a file that SQLite uses beside it, is not a regular file. SQLite would
// block when it opens a named pipe.
func checkFiles(database string) error {
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if info, err := os.Stat(database + suffix); err == nil && !info.Mode().IsRegular() {
			return &Error{database + suffix, regular.ErrOther}
		}
	}
	return nil
}

// awaitOthers waits until no process holds the lock directory of a database without a write-ahead log. This connection
// will use file locks, with which it does not see that lock. It would take the journal of the other process for the
// journal of a killed one, and roll back its transaction.
func (d *DB) awaitOthers(ctx context.Context) error {
	if d.noWAL {
		return nil
	}
	if wal, known := hasWAL(d.file); known && !wal {
		return (&Conn{file: d.file, ctx: ctx}).awaitLockDir()
	}
	return nil
}

// databaseURI returns the URI with which SQLite opens a database. Without a write-ahead log, Nix locks the database by
// a directory beside it, which also works on network file systems. Every program that shares the database must do the
// same.
func databaseURI(file string, noWAL bool) string {
	u := url.URL{Scheme: "file", Path: file}
	if noWAL {
		u.RawQuery = "vfs=unix-dotfile"
	}
	return u.String()
}

// makeReadable allows all users to read a new database. SQLite creates the file with mode 0644, from which the umask
// may remove bits, and gives the same mode to the files beside it.
func makeReadable(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&modes.File == modes.File {
		return err
	}
	return os.Chmod(file, info.Mode().Perm()|modes.File)
}

// connect opens another connection.
func (d *DB) connect(ctx context.Context) (*Conn, error) {
	joined := joinOpenDB(d.file)
	db, err := sqlite.OpenConn(d.uri, d.flags)
	c := &Conn{db: db, joined: joined, file: d.file, noWAL: d.noWAL, ctx: ctx}
	if err != nil {
		joined.leave()
		return nil, &Error{d.file, err}
	}
	db.SetBusyTimeout(0) // retryBusy waits instead, because a context can interrupt it
	err = c.Script(d.pragmas)
	if err == nil && !d.noWAL && d.flags&sqlite.OpenReadOnly == 0 {
		if err = persistWAL(db); err != nil {
			err = &Error{d.file, err}
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) close() error {
	defer c.joined.leave()
	return c.db.Close()
}

// withOpenError adds the error of the system to an error of SQLite, which does not contain it.
func withOpenError(err error) error {
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly:
		return because(err, cmp.Or(unix.Access(failed.File, unix.R_OK|unix.W_OK), tryCreateFile(filepath.Dir(failed.File))))
	case sqlite.ResultIOErr:
		return because(err, tryCreateFile(filepath.Dir(failed.File)))
	}
	return err
}

// withReadError adds the error of the system to the error of a database that cannot be opened for reading. To read a
// log that is not empty, SQLite may have to create a file beside it.
func withReadError(err error, file string) error {
	if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultCantOpen {
		return err
	}
	return because(err, cmp.Or(unix.Access(file, unix.R_OK), unix.Access(filepath.Dir(file), unix.W_OK)))
}

// because adds an error of the system to a [*Error].
func because(err, system error) error {
	failed, ok := errors.AsType[*Error](err)
	errno, known := errors.AsType[unix.Errno](system)
	if !ok || !known {
		return err
	}
	return &Error{failed.File, fmt.Errorf("%w: %w", failed.Err, errno)}
}

// tryCreateFile returns the error of creating a file of the size of a WAL index. Statfs does not report quotas, and a
// copy-on-write file system may be full although statfs reports free space.
func tryCreateFile(dir string) error {
	f, err := os.CreateTemp(dir, "db.sqlite.tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 32<<10))
	return errors.Join(err, f.Close())
}
