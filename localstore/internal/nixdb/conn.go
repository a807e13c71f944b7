package nixdb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/flock"
	"pix/store"
)

// A Conn is a connection to the database, for one goroutine at a time. Statements are
// prepared once for each connection, and found again by their text.
type Conn struct {
	db     *sqlite.Conn
	joined *openDB
	file   string
	noWAL  bool
	ctx    context.Context // of the call that uses the connection

	registered []registered // in the transaction that is being written, if that is all it does
}

// Query runs a statement and calls row with each row of the result. The arguments are
// strings, int64 and nil. The columns of a row are read from the statement, and not kept.
//
// While another process has the database locked, it is tried again until the context ends.
func (c *Conn) Query(text string, row func(*sqlite.Stmt) error, args ...any) error {
	return c.retryBusy(func() error { return c.tryQuery(text, row, args) })
}

// retryBusy calls f until the database is not busy, or the context ends.
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

// LastID returns the id of the row that was inserted last.
func (c *Conn) LastID() int64 { return c.db.LastInsertRowID() }

// Registered notes that the transaction has registered a path, or changed its info if it was valid already. If
// a transaction does nothing else, the cache of infos stays valid.
func (c *Conn) Registered(info *store.PathInfo, added bool) {
	c.registered = append(c.registered, registered{info, added})
}

// tryQuery runs a statement once. A busy database is an error before the first row.
func (c *Conn) tryQuery(text string, row func(*sqlite.Stmt) error, args []any) error {
	stmt, err := c.db.Prepare(text)
	if err != nil {
		return &Error{c.file, err}
	}
	defer stmt.Reset() // releases the lock of the statement; its error is the one that Step has returned
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

// Exec runs a statement that has no result.
func (c *Conn) Exec(text string, args ...any) error {
	return c.Query(text, func(*sqlite.Stmt) error { return nil }, args...)
}

// transaction calls f within a transaction, which is undone if f fails. It begins as one that
// writes, so that two that read first and then want to write do not wait for each other.
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
	if err != nil && !c.db.AutocommitEnabled() { // SQLite itself undoes it after some errors
		c.rollback()
	}
	return err
}

// Snapshot calls f within a transaction that reads, so that everything it reads is of one moment.
func (c *Conn) Snapshot(f func() error) error {
	if err := c.Exec("begin"); err != nil {
		return err
	}
	defer c.rollback() // there is nothing to undo
	return f()
}

// rollback undoes a transaction, even if the context has ended.
func (c *Conn) rollback() {
	ctx := c.ctx
	c.ctx = context.WithoutCancel(ctx)
	c.Exec("rollback") // if it cannot, closing the connection will
	c.ctx = ctx
}

// Script runs several statements that have no result.
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
