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

// The settings of every connection, as Nix has them. A write-ahead log of 40,000 pages lets
// many registrations pass between two syncs. The limit of its size makes SQLite empty the log when the
// last connection is closed.
const pragmas = `
pragma foreign_keys = 1;
pragma journal_size_limit = 1099511627776;
pragma wal_autocheckpoint = 40000;
`

// Options say how to open a database.
type Options struct {
	Create   bool // makes the database and its tables if they do not exist
	ReadOnly bool // writes nothing
	NoSync   bool // does not wait until transactions are on the disk
	NoWAL    bool // a rollback journal instead of a write-ahead log
}

// Open opens a database. The error is an [*Error], a [*SchemaError] if the tables are not Nix's, or a
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
			return nil, whyNotReadable(err, file)
		}
		return d, nil
	}
	if opts.Create {
		d.flags |= sqlite.OpenCreate
	}
	if err := d.awaitOthers(ctx); err != nil {
		return nil, err
	}
	c, err := d.connect(ctx)
	if d.noWAL && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCantOpen {
		// This may be a database in WAL mode, which needs shared memory.
		if err = leaveWAL(ctx, file); err == nil {
			c, err = d.connect(ctx)
		}
	}
	if err != nil {
		return nil, whyNotOpen(err)
	}
	if opts.Create {
		err = publishDatabase(file)
	}
	if err == nil && !opts.Create {
		err = c.checkTables() // the journal of another program's database must not be changed
	}
	if err == nil {
		err = c.setJournal(d.noWAL)
	}
	if err == nil && opts.Create {
		// A file will say that the tables are there, so they must be on the disk before it.
		err = d.durably(c, func() error {
			return c.transaction(func(c *Conn) error { return c.Script(schema) })
		})
	}
	if err != nil {
		c.close()
		return nil, whyNotOpen(err)
	}
	d.flags &^= sqlite.OpenCreate
	d.writer = make(chan *Conn, 1)
	d.writer <- c
	if d.identity, err = os.Stat(file); err != nil {
		c.close()
		return nil, err
	}
	if !d.noWAL {
		d.infos = openInfoCache(file)
	}
	return d, nil
}

// checkFiles returns an error if a database, or a file that SQLite has beside it, is not a regular file. SQLite would
// wait for ever when it opens a named pipe.
func checkFiles(database string) error {
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if info, err := os.Stat(database + suffix); err == nil && !info.Mode().IsRegular() {
			return &Error{database + suffix, regular.ErrOther}
		}
	}
	return nil
}

// awaitOthers waits until the database can be read. A reader with the usual locks takes the journal of a process that
// locks the database by a directory for the journal of a killed process, and undoes that transaction.
func (d *DB) awaitOthers(ctx context.Context) error {
	if d.noWAL {
		return nil
	}
	if wal, known := hasWAL(d.file); known && !wal {
		return (&Conn{file: d.file, ctx: ctx}).awaitLockDir()
	}
	return nil
}

// databaseURI returns the URI by which SQLite opens a database. Without a write-ahead log Nix locks it by a
// directory beside it, which also works on network file systems, and so must every program that shares it.
func databaseURI(file string, noWAL bool) string {
	u := url.URL{Scheme: "file", Path: file}
	if noWAL {
		u.RawQuery = "vfs=unix-dotfile"
	}
	return u.String()
}

// publishDatabase lets all users read a new database. SQLite makes the file with the mode 0644 less
// the umask, and gives its mode to the files that it makes beside it.
func publishDatabase(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&modes.File == modes.File {
		return err
	}
	return os.Chmod(file, info.Mode().Perm()|modes.File)
}

// connect opens one more connection.
func (d *DB) connect(ctx context.Context) (*Conn, error) {
	joined := joinOpenDB(d.file)
	db, err := sqlite.OpenConn(d.uri, d.flags)
	c := &Conn{db: db, joined: joined, file: d.file, noWAL: d.noWAL, ctx: ctx}
	if err != nil {
		joined.leave()
		return nil, &Error{d.file, err}
	}
	db.SetBusyTimeout(0) // retryBusy waits instead, because it can be cancelled
	err = c.Script(d.pragmas)
	if err == nil && !d.noWAL && d.flags&sqlite.OpenReadOnly == 0 {
		if err = keepWAL(db); err != nil {
			err = &Error{d.file, err}
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close closes the connection.
func (c *Conn) close() error {
	defer c.joined.leave()
	return c.db.Close()
}

// whyNotOpen adds the error of the system to the error of SQLite, which does not report it.
func whyNotOpen(err error) error {
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly:
		return because(err, cmp.Or(unix.Access(failed.File, unix.R_OK|unix.W_OK), tryMakeFile(filepath.Dir(failed.File))))
	case sqlite.ResultIOErr:
		return because(err, tryMakeFile(filepath.Dir(failed.File)))
	}
	return err
}

// whyNotReadable adds the error of the system to the error of a database that cannot be opened for reading. To read a
// log that is not empty, SQLite may have to make a file beside it.
func whyNotReadable(err error, file string) error {
	if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultCantOpen {
		return err
	}
	return because(err, cmp.Or(unix.Access(file, unix.R_OK), unix.Access(filepath.Dir(file), unix.W_OK)))
}

// because adds an error of the system to a [*Error].
func because(err, said error) error {
	failed, ok := errors.AsType[*Error](err)
	errno, known := errors.AsType[unix.Errno](said)
	if !ok || !known {
		return err
	}
	return &Error{failed.File, fmt.Errorf("%w: %w", failed.Err, errno)}
}

// tryMakeFile returns the error of making a file as large as the index of a write-ahead log. Statfs does
// not know of quotas, and a file system that is copied on write may be full earlier than it says.
func tryMakeFile(dir string) error {
	f, err := os.CreateTemp(dir, "db.sqlite.tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 32<<10))
	return errors.Join(err, f.Close())
}
