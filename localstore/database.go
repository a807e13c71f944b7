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
)

// A database is the open database of a store: one connection that writes, and some that
// read meanwhile. Readers see what was committed when they began, and wait for nobody.
type database struct {
	file     string
	uri      string
	flags    sqlite.OpenFlags
	pragmas  string
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
// many registrations pass between two syncs.
const pragmas = `
pragma foreign_keys = 1;
pragma journal_size_limit = 1099511627776;
pragma wal_autocheckpoint = 40000;
`

// openDatabase opens a database, and with create makes it if it is not there.
func openDatabase(ctx context.Context, file string, opts *Options, create bool) (*database, error) {
	d := &database{file: file, flags: sqlite.OpenReadWrite | sqlite.OpenURI, pragmas: pragmas}
	d.uri = (&url.URL{Scheme: "file", Path: file}).String()
	d.readers = make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))
	if opts.NoSync {
		d.pragmas += "pragma synchronous = off;"
	} else {
		d.pragmas += "pragma synchronous = normal;"
	}
	if opts.ReadOnly {
		return d, d.openReadOnly(ctx)
	}
	if create {
		d.flags |= sqlite.OpenCreate
	}
	c, err := d.connect(ctx)
	if err != nil {
		return nil, whyNotOpen(err)
	}
	if create {
		err = publishDatabase(file)
	}
	if err == nil {
		err = c.setUp(create)
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
	d.infos = openInfoCache(file)
	return d, nil
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

// openReadOnly opens a database that is not to be written to. Where SQLite cannot make the files
// beside it that readers and writers share, and nobody has, the database does not change.
func (d *database) openReadOnly(ctx context.Context) (err error) {
	if d.identity, err = os.Stat(d.file); err != nil {
		return err
	}
	d.flags = sqlite.OpenReadOnly | sqlite.OpenURI
	d.pragmas = "pragma foreign_keys = 1;"
	probe := func(c *conn) error { return c.exec("select count(*) from sqlite_schema") }
	d.infos = new(infoCache)
	err = d.read(ctx, probe)
	if err == nil {
		d.infos = openInfoCache(d.file)
	}
	if code := sqlite.ErrCode(err).ToPrimary(); code != sqlite.ResultCantOpen && code != sqlite.ResultReadOnly {
		return err
	}
	if info, statErr := os.Stat(d.file + "-wal"); statErr == nil && info.Size() > 0 {
		return err
	}
	d.close()
	d.closed = false
	d.uri += "?immutable=1"
	d.infos = new(infoCache)
	return d.read(ctx, probe)
}

// connect opens one more connection.
func (d *database) connect(ctx context.Context) (*conn, error) {
	joined := joinOpenDB(d.file)
	db, err := sqlite.OpenConn(d.uri, d.flags)
	c := &conn{db: db, joined: joined, file: d.file, ctx: ctx}
	if err != nil {
		joined.leave()
		return nil, &DatabaseError{d.file, err}
	}
	db.SetBusyTimeout(0) // who waits can be cancelled: see [conn.query]
	err = c.script(d.pragmas)
	if err == nil && d.flags&sqlite.OpenReadOnly == 0 {
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
	var said error
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly:
		said = cmp.Or(unix.Access(failed.File, unix.R_OK|unix.W_OK), tryMakeFile(filepath.Dir(failed.File)))
	case sqlite.ResultIOErr:
		said = tryMakeFile(filepath.Dir(failed.File))
	}
	if said, ok := errors.AsType[unix.Errno](said); ok {
		return &DatabaseError{failed.File, fmt.Errorf("%w: %w", failed.Err, said)}
	}
	return err
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

// setUp makes the log that is written ahead, and with create the tables.
func (c *conn) setUp(create bool) error {
	var mode string
	err := c.query("pragma journal_mode", func(row *sqlite.Stmt) error { mode = row.ColumnText(0); return nil })
	if err == nil && mode != "wal" {
		err = c.exec("pragma journal_mode = wal")
	}
	if err != nil || !create {
		return err
	}
	return c.transaction(func(c *conn) error { return c.script(schema) })
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
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case c, ok := <-d.writer:
		if !ok {
			return ErrClosed
		}
		defer d.returnWriter(c)
		c.ctx = ctx
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
func (d *database) read(ctx context.Context, f func(c *conn) error) error {
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	defer d.returnReader(c)
	return f(c)
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
// fifth of the time of a query.
const goneInterval = 10 * time.Millisecond

// isGone reports whether the file that is open is no longer there under its name. Those who
// only read may learn of it a moment later.
func (d *database) isGone(reading bool) bool {
	now := time.Since(processStart)
	if last := time.Duration(d.looked.Load()); reading && last > 0 && now-last < goneInterval {
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
