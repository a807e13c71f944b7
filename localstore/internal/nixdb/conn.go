package nixdb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/internal/flock"
	"pix/store"
)

// A Conn is a connection to the database, for one goroutine at a time. It prepares each statement once, and finds it
// again by its text.
type Conn struct {
	db     *sqlite.Conn
	joined *openDB
	file   string
	noWAL  bool
	ctx    context.Context // of the call that uses the connection

	registered []registered // in the current transaction, if it does nothing else
}

// Query runs a statement and calls row for each row of the result. The arguments are strings, int64 and nil. The
// columns of a row are valid until row returns.
//
// While another process has locked the database, Query tries again until the context is done.
func (c *Conn) Query(text string, row func(*sqlite.Stmt) error, args ...any) error {
	return c.retryBusy(func() error { return c.tryQuery(text, row, args) })
}

// retryBusy calls f until the database is not busy, or the context is done.
func (c *Conn) retryBusy(f func() error) error {
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

// Changes returns how many rows the last statement has inserted, changed or deleted.
func (c *Conn) Changes() int { return c.db.Changes() }

// LastID returns the id of the last inserted row.
func (c *Conn) LastID() int64 { return c.db.LastInsertRowID() }

// Registered records that the transaction has registered a path, or changed the info of a valid path. After a
// transaction that does nothing else, the cache of infos stays valid.
func (c *Conn) Registered(info *store.PathInfo, added bool) {
	c.registered = append(c.registered, registered{info, added})
}

// tryQuery runs a statement once. If the database is busy, it returns an error before the first row.
func (c *Conn) tryQuery(text string, row func(*sqlite.Stmt) error, args []any) error {
	stmt, err := c.db.Prepare(text)
	if err != nil {
		return &Error{c.file, err}
	}
	defer stmt.Reset() // releases the lock of the statement; Step has already returned its error
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
			return &Error{c.file, err}
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

// Exec runs a statement without a result.
func (c *Conn) Exec(text string, args ...any) error {
	return c.Query(text, func(*sqlite.Stmt) error { return nil }, args...)
}

// transaction calls f within a transaction, which is rolled back if f fails. It begins as a write transaction: two
// transactions that read first and then write would deadlock.
func (c *Conn) transaction(f func(c *Conn) error) error {
	if err := c.Exec("begin immediate"); err != nil {
		return err
	}
	err := f(c)
	if err == nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	if err == nil {
		err = c.Exec("commit")
	}
	if err != nil && !c.db.AutocommitEnabled() { // after some errors SQLite has already rolled back
		c.rollback()
	}
	return err
}

// Snapshot calls f within a read transaction, so that all statements in f see the same state.
func (c *Conn) Snapshot(f func() error) error {
	if err := c.Exec("begin"); err != nil {
		return err
	}
	defer c.rollback() // there are no changes to roll back
	return f()
}

// rollback ends a transaction, even if the context is done.
func (c *Conn) rollback() {
	ctx := c.ctx
	c.ctx = context.WithoutCancel(ctx)
	c.Exec("rollback") // if this fails, closing the connection rolls back
	c.ctx = ctx
}

// Script runs several statements without results.
func (c *Conn) Script(text string) error {
	for strings.TrimSpace(text) != "" {
		trailing := 0
		err := c.retryBusy(func() error {
			stmt, n, err := c.db.PrepareTransient(text)
			if err != nil {
				return &Error{c.file, err}
			}
			defer stmt.Finalize()
			trailing = n
			if _, err = stmt.Step(); err != nil {
				return &Error{c.file, err}
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
