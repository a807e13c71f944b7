package localstore

import (
	"context"
	"fmt"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/flock"
)

// A conn is a connection to the database, for one goroutine at a time. Statements are
// prepared once for each connection, and found again by their text.
type conn struct {
	db     *sqlite.Conn
	joined *openDB
	file   string
	noWAL  bool
	ctx    context.Context // of who uses it

	registered []registered // in the transaction that is being written, if that is all it does
}

// query runs a statement and calls row with each row of the result. The arguments are
// strings, int64 and nil. The columns of a row are read from the statement, and not kept.
//
// While another process has the database to itself, it asks again and again, until ctx ends.
func (c *conn) query(text string, row func(*sqlite.Stmt) error, args ...any) error {
	return c.patiently(func() error { return c.tryQuery(text, row, args) })
}

// patiently calls f again and again while the database is busy.
func (c *conn) patiently(f func() error) error {
	const longest = 20 * time.Millisecond
	var begin time.Time
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		err := f()
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy {
			return err
		}
		if c.noWAL {
			if begin.IsZero() {
				begin = time.Now()
			} else if c.isStale(begin) {
				return c.staleLock()
			}
		}
		if err := flock.Sleep(c.ctx, pause); err != nil {
			return err
		}
	}
}

// staleLockAge is the age from which a lock directory counts as one that a killed process has left.
// Transactions take milliseconds.
const staleLockAge = time.Minute

// isStale reports whether the directory that locks the database seems to be of a process that was killed. The
// system releases other locks at the end of a process, but not this one. SQLite gives the directory a new time
// when a lock changes; the clock may differ from that of the file system.
func (c *conn) isStale(begin time.Time) bool {
	if time.Since(begin) < staleLockAge {
		return false
	}
	info, err := os.Lstat(c.file + lockDir)
	return err == nil && info.ModTime().Before(begin)
}

// tryQuery is query for once. If the database is busy, it is so before the first row.
func (c *conn) tryQuery(text string, row func(*sqlite.Stmt) error, args []any) error {
	stmt, err := c.db.Prepare(text)
	if err != nil {
		return &DatabaseError{c.file, err}
	}
	defer stmt.Reset() // what it says was said by Step; until then it holds a lock
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			stmt.BindText(i+1, arg)
		case int64:
			stmt.BindInt64(i+1, arg)
		case nil:
			stmt.BindNull(i + 1)
		default:
			panic(fmt.Sprintf("argument of type %T", arg))
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil {
			return &DatabaseError{c.file, err}
		}
		if !more {
			return nil
		}
		if err := row(stmt); err != nil {
			return err
		}
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
	}
}

// exec runs a statement that has no result.
func (c *conn) exec(text string, args ...any) error {
	return c.query(text, func(*sqlite.Stmt) error { return nil }, args...)
}

// transaction calls f within a transaction, which is undone if f fails. It begins as one that
// writes, so that two that read first and then want to write do not wait for each other.
func (c *conn) transaction(f func(c *conn) error) error {
	if err := c.exec("begin immediate"); err != nil {
		return err
	}
	err := f(c)
	if err == nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	if err == nil {
		err = c.exec("commit")
	}
	if err != nil && !c.db.AutocommitEnabled() { // SQLite itself undoes it after some errors
		c.rollback()
	}
	return err
}

// rollback undoes a transaction, even if the context has ended.
func (c *conn) rollback() {
	ctx := c.ctx
	c.ctx = context.WithoutCancel(ctx)
	c.exec("rollback") // if it cannot, closing the connection will
	c.ctx = ctx
}
