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

// A DB is the open database of a store: one connection that writes, and several that read at the same time.
// A reader sees what was committed when it began, and does not wait for the writer.
type DB struct {
	file     string
	uri      string
	flags    sqlite.OpenFlags
	pragmas  string
	syncs    string       // when connections sync: "normal" or "off"
	noWAL    bool         // a rollback journal instead of a write-ahead log
	still    *stillFile   // nil unless it is read without locks
	identity fs.FileInfo  // of the file that is open
	looked   atomic.Int64 // when it was last seen to be there, since processStart
	infos    *infoCache

	writer  chan *Conn // holds the connection while no goroutine writes; nil if the database is read-only
	readers chan struct{}

	mu     sync.Mutex
	idle   []*Conn // that read
	closed bool
}

// Write calls f within a transaction on the connection that writes. After a crash of the process, either all
// of its effects are there, or none. After a power cut the last transactions may be missing.
func (d *DB) Write(ctx context.Context, f func(c *Conn) error) error {
	return d.onWriter(ctx, func(c *Conn) error { return d.transact(c, f) })
}

// WriteDurably is Write, but returns when the transaction, with all transactions before it, is on the disk.
func (d *DB) WriteDurably(ctx context.Context, f func(c *Conn) error) error {
	return d.onWriter(ctx, func(c *Conn) error {
		return d.durably(c, func() error { return d.transact(c, f) })
	})
}

// durably calls f, in which the connection waits until each transaction is on the disk, unless the options
// say that it never does.
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
		before, known = d.infos.moment() // no other process writes from here on
		return f(c)
	})
	if err == nil && known && len(c.registered) > 0 {
		d.infos.advance(before, c.registered)
	}
	c.registered = nil
	return err
}

// onWriter calls f with the connection that writes, when no other goroutine has it.
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

// Read calls f with a connection that reads. What one statement says is of one moment; several
// statements see the same moment only within a transaction of their own.
//
// Without a write-ahead log a reader keeps a writer out, also one of this process. So all use one connection
// then, and f must not call Read or Write.
func (d *DB) Read(ctx context.Context, f func(c *Conn) error) error {
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
		return &Error{d.file, errChanged}
	}
	return err
}

// ReadOnWriter is Read on the connection that writes, if no other goroutine has it. That connection still has the
// pages that it wrote last in memory, so this is faster for a goroutine that is about to write.
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

// GoneInterval is how often readers check that the database is still there. The check takes a
// fifth of the time of a query. Without a write-ahead log even a read fails if the directory is not there.
const GoneInterval = 10 * time.Millisecond

// IsGone reports whether the file that is open is no longer there under its name, or has to be opened in
// another way. With reading, the answer may be [GoneInterval] old.
func (d *DB) IsGone(reading bool) bool {
	if d.still != nil {
		return !d.still.isStill()
	}
	now := time.Since(processStart)
	if last := time.Duration(d.looked.Load()); reading && !d.noWAL && last > 0 && now-last < GoneInterval {
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

// Close closes the idle connections. The others are closed when they are returned.
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

// closeIdle closes the idle connections that read.
func (d *DB) closeIdle() error {
	var errs []error
	for _, c := range d.idle {
		errs = append(errs, c.close())
	}
	d.idle = nil
	return errors.Join(errs...)
}

// IsStill reports whether the database is read without locks. If [DB.IsGone] reports that it has to be opened in
// another way, the same file may still be there: see [DB.HasSameFile].
func (d *DB) IsStill() bool { return d.still != nil }

// HasSameFile reports whether the file that is open still has its name.
func (d *DB) HasSameFile() bool {
	info, err := os.Stat(d.file)
	return err == nil && os.SameFile(info, d.identity)
}

// File returns the name of the database.
func (d *DB) File() string { return d.file }

// A Moment is the state of a database between two transactions.
type Moment struct {
	state walState
	known bool
}

// CachedInfo returns the info of a path if it is cached, or else nil. An info that the caller then reads may be
// cached with the moment.
func (d *DB) CachedInfo(path storepath.Path) (*store.PathInfo, Moment) {
	info, state, ok := d.infos.get(path)
	return info, Moment{state, ok}
}

// CacheInfo caches an info that was read after a moment, unless the database has changed since.
func (d *DB) CacheInfo(info *store.PathInfo, since Moment) {
	if since.known && isUsual(info) {
		d.infos.put(info, since.state)
	}
}
