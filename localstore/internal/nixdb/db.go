package nixdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/store"
	"pix/storepath"
)

// A DB is the open database of a store, with one connection for writing and several for reading. A reader sees the last
// committed state, and does not wait for the writer.
type DB struct {
	file      string
	uri       string
	flags     sqlite.OpenFlags
	pragmas   string
	syncs     string         // the pragma synchronous of connections: "normal" or "off"
	noWAL     bool           // use a rollback journal instead of a write-ahead log
	immutable *immutableFile // nil unless the database is read without locks
	identity  fs.FileInfo    // of the open file
	lastSeen  atomic.Int64   // when IsGone last found the file, since processStart
	infos     *infoCache

	writer  chan *Conn // contains the connection while no goroutine writes; nil if the database is read-only
	readers chan struct{}

	mu     sync.Mutex
	idle   []*Conn // connections for reading
	closed bool
}

// Write calls f within a transaction on the write connection. After a crash of the process, the database contains all
// changes of the transaction, or none. After a power cut the last transactions may be missing.
func (d *DB) Write(ctx context.Context, f func(c *Conn) error) error {
	return d.onWriter(ctx, func(c *Conn) error { return d.transact(c, f) })
}

// WriteDurably is Write, and returns after the transaction and all earlier ones are on the disk.
func (d *DB) WriteDurably(ctx context.Context, f func(c *Conn) error) error {
	return d.onWriter(ctx, func(c *Conn) error {
		return d.durably(c, func() error { return d.transact(c, f) })
	})
}

// durably calls f, during which each transaction is synced to the disk. With NoSync, it only calls f.
func (d *DB) durably(c *Conn, f func() error) error {
	if d.syncs == "off" {
		return f()
	}
	if err := c.Exec("pragma synchronous = extra"); err != nil {
		return err
	}
	err := f()
	return errors.Join(err, c.Exec("pragma synchronous = "+d.syncs))
}

// transact calls f within a transaction.
func (d *DB) transact(c *Conn, f func(c *Conn) error) error {
	var before walState
	var known bool
	err := c.transaction(func(c *Conn) error {
		before, known = d.infos.moment() // no other process writes until the end of the transaction
		return f(c)
	})
	if err == nil && known && len(c.registered) > 0 {
		d.infos.advance(before, c.registered)
	}
	c.registered = nil
	return err
}

// onWriter waits until no other goroutine uses the write connection, and calls f with it.
func (d *DB) onWriter(ctx context.Context, f func(c *Conn) error) error {
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
		return f(c)
	}
}

func (d *DB) returnWriter(c *Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.close()
		return
	}
	d.writer <- c
}

// Read calls f with a read connection. One statement sees one state of the database. Several statements see the same
// state only within [Conn.Snapshot].
//
// Without a write-ahead log, a reader blocks writers, even in the same process. So all goroutines then use one
// connection, and f must not call Read or Write.
func (d *DB) Read(ctx context.Context, f func(c *Conn) error) error {
	if d.noWAL && d.writer != nil {
		return d.onWriter(ctx, f)
	}
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	defer d.returnReader(c)
	if d.immutable == nil {
		return f(c)
	}
	err = f(c)
	if !d.immutable.isUnchanged() {
		return &Error{d.file, errChanged}
	}
	return err
}

// ReadOnWriter is Read on the write connection, if no other goroutine uses it. That connection has the pages that it
// wrote last in its cache, so this is faster for a goroutine that is about to write.
func (d *DB) ReadOnWriter(ctx context.Context, f func(c *Conn) error) error {
	select {
	case c, ok := <-d.writer:
		if !ok {
			return ErrClosed
		}
		defer d.returnWriter(c)
		c.ctx = ctx
		return f(c)
	default:
		return d.Read(ctx, f)
	}
}

func (d *DB) reader(ctx context.Context) (*Conn, error) {
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

func (d *DB) returnReader(c *Conn) {
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

// GoneInterval is how often readers check whether the database file still exists. The check takes a fifth of the time
// of a query. Without a write-ahead log every read checks, because it fails if the directory of the database was
// deleted.
const GoneInterval = 10 * time.Millisecond

// IsGone reports whether the open file was deleted or replaced, or whether the database must be opened in another way.
// With reading, the answer may be [GoneInterval] old.
func (d *DB) IsGone(reading bool) bool {
	if d.immutable != nil {
		return !d.immutable.canRead()
	}
	now := time.Since(processStart)
	if last := time.Duration(d.lastSeen.Load()); reading && !d.noWAL && last > 0 && now-last < GoneInterval {
		return false
	}
	info, err := os.Stat(d.file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(info, d.identity) {
		return true
	}
	d.lastSeen.Store(int64(now))
	return false
}

// processStart is the origin of the monotonic times in this package, which do not change when the clock is set.
var processStart = time.Now()

// Close closes the idle connections. Connections in use are closed when they are returned.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.infos.close()
	errs := []error{d.closeIdle()}
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

// closeIdle closes the idle read connections.
func (d *DB) closeIdle() error {
	var errs []error
	for _, c := range d.idle {
		errs = append(errs, c.close())
	}
	d.idle = nil
	return errors.Join(errs...)
}

// IsImmutable reports whether the database is read without locks. In that case [DB.IsGone] also returns true when a
// process begins to write, although the file still exists: see [DB.HasSameFile].
func (d *DB) IsImmutable() bool { return d.immutable != nil }

// HasSameFile reports whether the open file still has its name.
func (d *DB) HasSameFile() bool {
	info, err := os.Stat(d.file)
	return err == nil && os.SameFile(info, d.identity)
}

// File returns the name of the database file.
func (d *DB) File() string { return d.file }

// A Moment is the state of a database between two transactions.
type Moment struct {
	state walState
	known bool
}

// CachedInfo returns the info of a path, or nil if it is not cached. A caller that then reads the info can cache it
// with the moment.
func (d *DB) CachedInfo(path storepath.Path) (*store.PathInfo, Moment) {
	info, state, ok := d.infos.get(path)
	return info, Moment{state, ok}
}

// CacheInfo caches an info that was read after a moment, unless the database has changed since.
func (d *DB) CacheInfo(info *store.PathInfo, since Moment) {
	if since.known && isSmall(info) {
		d.infos.put(info, since.state)
	}
}
