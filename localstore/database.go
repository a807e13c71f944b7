package localstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"

	"pix/internal/modes"
	"pix/localstore/internal/flock"
)

// A database is the open database of a store: one connection that writes, and some that
// read meanwhile. Readers see what was committed when they began, and wait for nobody.
type database struct {
	file     string
	uri      string
	flags    sqlite.OpenFlags
	pragmas  string
	noWAL    bool         // a rollback journal instead of a write-ahead log
	still    *stillFile   // nil unless it is read without locks
	identity fs.FileInfo  // of the file that is open
	looked   atomic.Int64 // when it was last seen to be there, since processStart
	infos    *infoCache

	writer  chan *conn // holds the connection while nobody writes; nil where nobody may
	readers chan struct{}

	mu     sync.Mutex
	idle   []*conn // that read
	closed bool
}

// The settings of every connection, as Nix has them. A write-ahead log of 40,000 pages lets
// many registrations pass between two syncs. The limit of its size makes SQLite empty the log when the
// last connection is closed.
const pragmas = `
pragma foreign_keys = 1;
pragma journal_size_limit = 1099511627776;
pragma wal_autocheckpoint = 40000;
`

// openDatabase opens a database, and with create makes it if it is not there.
func openDatabase(ctx context.Context, file string, opts *Options, create bool) (*database, error) {
	d := &database{file: file, noWAL: opts.NoWAL, flags: sqlite.OpenReadWrite | sqlite.OpenURI, pragmas: pragmas, infos: new(infoCache)}
	d.uri = databaseURI(file, opts.NoWAL)
	d.readers = make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))
	if opts.NoSync {
		d.pragmas += "pragma synchronous = off;"
	} else {
		d.pragmas += "pragma synchronous = normal;"
	}
	if opts.ReadOnly {
		err := d.openReadOnly(ctx)
		if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCantOpen {
			err = because(err, unix.Access(file, unix.R_OK))
		}
		return d, err
	}
	if create {
		d.flags |= sqlite.OpenCreate
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
	if create {
		err = publishDatabase(file)
	}
	if err == nil {
		err = c.setJournal(d.noWAL)
	}
	if err == nil && create {
		err = c.transaction(func(c *conn) error { return c.script(schema) })
	}
	if err != nil {
		c.close()
		return nil, whyNotOpen(err)
	}
	d.flags &^= sqlite.OpenCreate
	d.writer = make(chan *conn, 1)
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

// databaseURI returns the URI by which SQLite opens a database. Without a write-ahead log Nix locks it by a
// directory beside it, which also works on network file systems, and so must every program that shares it.
func databaseURI(file string, noWAL bool) string {
	u := url.URL{Scheme: "file", Path: file}
	if noWAL {
		u.RawQuery = "vfs=unix-dotfile"
	}
	return u.String()
}

// publishDatabase lets everybody read a new database. SQLite makes the file with the mode 0644 less
// the umask, and gives its mode to the files that it makes beside it.
func publishDatabase(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&modes.File == modes.File {
		return err
	}
	return os.Chmod(file, info.Mode().Perm()|modes.File)
}

// openReadOnly opens a database that is not to be written to. To read one in WAL mode, SQLite makes the
// files that readers and writers share, if they do not exist. If they do not, no process has the database
// open, and it is read without them. It is also read so where it cannot be locked.
func (d *database) openReadOnly(ctx context.Context) (err error) {
	if d.identity, err = os.Stat(d.file); err != nil {
		return err
	}
	d.flags = sqlite.OpenReadOnly | sqlite.OpenURI
	d.pragmas = "pragma foreign_keys = 1;"
	wal, known := hasWAL(d.file)
	if known && wal {
		d.noWAL, d.uri = false, databaseURI(d.file, false)
		if _, err := os.Lstat(d.file + "-wal"); errors.Is(err, fs.ErrNotExist) {
			if err := d.openStill(ctx); !errors.Is(err, errChanged) {
				return err
			}
		}
	}
	var mode string
	err = d.read(ctx, func(c *conn) (err error) {
		if err := c.checkTables(); err != nil {
			return err
		}
		mode, err = c.journalMode()
		return err
	})
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultIOErr: // the files beside it, or its lock, cannot be made
		d.reset()
		if stillErr := d.openStill(ctx); stillErr == nil {
			return nil
		}
		return err
	}
	if err == nil && mode == "wal" {
		d.infos = openInfoCache(d.file)
	}
	return err
}

// openStill opens a database without locks. The error is errChanged if another process writes to it.
func (d *database) openStill(ctx context.Context) (err error) {
	if d.still, err = newStillFile(ctx, d.file); err != nil {
		return err
	}
	d.uri = databaseURI(d.file, false) + "?immutable=1"
	d.noWAL = false
	return d.read(ctx, (*conn).checkTables)
}

// reset closes the connections, for another way to open the database.
func (d *database) reset() {
	d.close()
	d.closed = false
}

// checkTables returns a [*SchemaError] if the database is not one of Nix.
func (c *conn) checkTables() error {
	err := c.exec("select id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths limit 0")
	if errors.As(err, new(*DatabaseError)) && sqlite.ErrCode(err) == sqlite.ResultError {
		return &SchemaError{c.file, "it has no table ValidPaths with the columns of Nix 2"}
	}
	return err
}

// connect opens one more connection.
func (d *database) connect(ctx context.Context) (*conn, error) {
	joined := joinOpenDB(d.file)
	db, err := sqlite.OpenConn(d.uri, d.flags)
	c := &conn{db: db, joined: joined, file: d.file, noWAL: d.noWAL, ctx: ctx}
	if err != nil {
		joined.leave()
		return nil, &DatabaseError{d.file, err}
	}
	db.SetBusyTimeout(0) // who waits can be cancelled: see [conn.query]
	err = c.script(d.pragmas)
	if err == nil && !d.noWAL && d.flags&sqlite.OpenReadOnly == 0 {
		if err = keepWAL(db); err != nil {
			err = &DatabaseError{d.file, err}
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// whyNotOpen adds the error of the system to the error of SQLite, which does not report it.
func whyNotOpen(err error) error {
	failed, ok := errors.AsType[*DatabaseError](err)
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

// because adds an error of the system to a [*DatabaseError].
func because(err, said error) error {
	failed, ok := errors.AsType[*DatabaseError](err)
	errno, known := errors.AsType[unix.Errno](said)
	if !ok || !known {
		return err
	}
	return &DatabaseError{failed.File, fmt.Errorf("%w: %w", failed.Err, errno)}
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

// close closes the connection.
func (c *conn) close() error {
	defer c.joined.leave()
	return c.db.Close()
}

// journalMode returns how the database is kept from being damaged by a crash: "wal", or in Nix "truncate".
// While no connection has set another mode, SQLite calls every mode but "wal" "delete".
func (c *conn) journalMode() (mode string, err error) {
	err = c.query("pragma main.journal_mode", func(row *sqlite.Stmt) error { mode = row.ColumnText(0); return nil })
	return mode, err
}

// setJournal gives the database the journal that Nix gives it with that setting.
func (c *conn) setJournal(noWAL bool) error {
	want := "wal"
	if noWAL {
		want = "truncate"
	}
	mode, err := c.journalMode()
	if err != nil || mode == want {
		return err
	}
	if !noWAL {
		if err := c.awaitLockDir(); err != nil {
			return err
		}
	}
	return c.query("pragma main.journal_mode = "+want, func(row *sqlite.Stmt) error {
		if got := row.ColumnText(0); got != want {
			return &DatabaseError{c.file, fmt.Errorf("its journal mode is %s and cannot be changed to %s", got, want)}
		}
		return nil
	})
}

// modeChangeLimit is how long a change of the journal mode waits for other processes.
const modeChangeLimit = 5 * time.Second

// leaveWAL gives a database that has a write-ahead log a rollback journal. No other process may have it open.
func leaveWAL(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, modeChangeLimit, &DatabaseError{file,
		errors.New("other processes use it with a write-ahead log; end them, or set use-sqlite-wal = true")})
	defer cancel()
	d := &database{file: file, uri: databaseURI(file, false), noWAL: true, flags: sqlite.OpenReadWrite | sqlite.OpenURI}
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.exec("pragma main.journal_mode = truncate"), c.close())
}

// awaitLockDir waits until no process has locked a database that has no write-ahead log yet, in the way
// that SQLite calls unix-dotfile. The locks of other ways do not exclude those processes.
func (c *conn) awaitLockDir() error {
	for until := time.Now().Add(modeChangeLimit); ; {
		if _, err := os.Lstat(c.file + lockDir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(until) {
			return c.staleLock()
		}
		if err := flock.Sleep(c.ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// lockDir comes after the name of a database in the name of the directory that locks it without a
// write-ahead log.
const lockDir = ".lock"

// staleLock returns the error for a lock that seems to be of a process that was killed.
func (c *conn) staleLock() error {
	return &DatabaseError{c.file, fmt.Errorf("another process has locked it by the directory '%s'; if no process uses the store, remove that directory", c.file+lockDir)}
}

// script runs several statements that have no result.
func (c *conn) script(text string) error {
	for strings.TrimSpace(text) != "" {
		trailing := 0
		err := c.patiently(func() error {
			stmt, n, err := c.db.PrepareTransient(text)
			if err != nil {
				return &DatabaseError{c.file, err}
			}
			defer stmt.Finalize()
			trailing = n
			if _, err = stmt.Step(); err != nil {
				return &DatabaseError{c.file, err}
			}
			return nil
		})
		if err != nil {
			return err
		}
		text = text[len(text)-trailing:]
	}
	return nil
}

// write calls f within a transaction on the connection that writes. Its effects are either
// all there and durable against crashes of the process, or not at all.
func (d *database) write(ctx context.Context, f func(c *conn) error) error {
	if d.writer == nil {
		return ErrReadOnly
	}
	return d.onWriter(ctx, func(c *conn) error {
		var before walState
		var known bool
		err := c.transaction(func(c *conn) error {
			before, known = d.infos.moment() // and nobody else writes from here on
			return f(c)
		})
		if err == nil && known && len(c.registered) > 0 {
			d.infos.advance(before, c.registered)
		}
		c.registered = nil
		return err
	})
}

// onWriter calls f with the connection that writes, when no other goroutine has it.
func (d *database) onWriter(ctx context.Context, f func(c *conn) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case c, ok := <-d.writer:
		if !ok {
			return ErrClosed
		}
		defer d.returnWriter(c)
		c.ctx = ctx
		return f(c)
	}
}

func (d *database) returnWriter(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.close()
		return
	}
	d.writer <- c
}

// read calls f with a connection that reads. What one statement says is of one moment; several
// statements see the same moment only within a transaction of their own.
//
// Without a write-ahead log a reader keeps a writer out, also one of this process. So all use one connection
// then, and f must not call read or write.
func (d *database) read(ctx context.Context, f func(c *conn) error) error {
	if d.noWAL && d.writer != nil {
		return d.onWriter(ctx, f)
	}
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	defer d.returnReader(c)
	if d.still == nil {
		return f(c)
	}
	err = f(c)
	if !d.still.isSame() {
		return &DatabaseError{d.file, errChanged}
	}
	return err
}

// readOwn is read for those who write soon, on the connection that writes if nobody has it: it
// still has the pages that it wrote last, which others have to read again.
func (d *database) readOwn(ctx context.Context, f func(c *conn) error) error {
	select {
	case c, ok := <-d.writer:
		if !ok {
			return ErrClosed
		}
		defer d.returnWriter(c)
		c.ctx = ctx
		return f(c)
	default:
		return d.read(ctx, f)
	}
}

func (d *database) reader(ctx context.Context) (*conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case d.readers <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		<-d.readers
		return nil, ErrClosed
	}
	if n := len(d.idle); n > 0 {
		c := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		c.ctx = ctx
		return c, nil
	}
	d.mu.Unlock()
	c, err := d.connect(ctx)
	if err != nil {
		<-d.readers
	}
	return c, err
}

func (d *database) returnReader(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.close()
	} else {
		c.ctx = nil
		d.idle = append(d.idle, c)
	}
	<-d.readers
}

// goneInterval is how often those who read look whether the database is still there. It takes a
// fifth of the time of a query. Without a write-ahead log even a read fails if the directory is not there.
const goneInterval = 10 * time.Millisecond

// isGone reports whether the file that is open is no longer there under its name, or has to be opened in
// another way. Those who only read may learn of it a moment later.
func (d *database) isGone(reading bool) bool {
	if d.still != nil {
		return !d.still.isStill()
	}
	now := time.Since(processStart)
	if last := time.Duration(d.looked.Load()); reading && !d.noWAL && last > 0 && now-last < goneInterval {
		return false
	}
	info, err := os.Stat(d.file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, d.identity) {
		return true
	}
	d.looked.Store(int64(now))
	return false
}

// processStart is what times are counted from, so that a clock that is set does not matter.
var processStart = time.Now()

// close closes the connections that nobody uses; the others are closed when they are returned.
func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.infos.close()
	var errs []error
	for _, c := range d.idle {
		errs = append(errs, c.close())
	}
	d.idle = nil
	if d.writer != nil {
		select {
		case c := <-d.writer:
			errs = append(errs, c.close())
		default:
		}
		close(d.writer)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing database '%s': %w", d.file, err)
	}
	return nil
}
