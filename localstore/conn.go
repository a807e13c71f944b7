package localstore

import (
	"context"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/nixdb"
	"pix/store"
	"pix/storepath"
)

// A database is the open database of a store, with connections of type conn.
type database struct{ *nixdb.DB }

// read calls f with a connection; see [nixdb.DB.Read].
func (d *database) read(ctx context.Context, f func(c *conn) error) error {
	return d.Read(ctx, onConn(f))
}

// readOnWriter calls f with the write connection, if it is free; see [nixdb.DB.ReadOnWriter].
func (d *database) readOnWriter(ctx context.Context, f func(c *conn) error) error {
	return d.ReadOnWriter(ctx, onConn(f))
}

// write calls f within a transaction; see [nixdb.DB.Write].
func (d *database) write(ctx context.Context, f func(c *conn) error) error {
	return d.Write(ctx, onConn(f))
}

// writeDurably calls f within a transaction, and returns when the transaction is on the disk; see
// [nixdb.DB.WriteDurably].
func (d *database) writeDurably(ctx context.Context, f func(c *conn) error) error {
	return d.WriteDurably(ctx, onConn(f))
}

// A conn is a connection to the database. Its methods run the SQL statements of this package and of nixdb.
type conn nixdb.Conn

func onConn(f func(c *conn) error) func(c *nixdb.Conn) error {
	return func(c *nixdb.Conn) error { return f((*conn)(c)) }
}

func (c *conn) query(text string, row func(*sqlite.Stmt) error, args ...any) error {
	return (*nixdb.Conn)(c).Query(text, row, args...)
}

func (c *conn) exec(text string, args ...any) error { return (*nixdb.Conn)(c).Exec(text, args...) }

func (c *conn) script(text string) error { return (*nixdb.Conn)(c).Script(text) }

func (c *conn) snapshot(f func() error) error { return (*nixdb.Conn)(c).Snapshot(f) }

func (c *conn) changes() int { return (*nixdb.Conn)(c).Changes() }

func (c *conn) lastID() int64 { return (*nixdb.Conn)(c).LastID() }

func (c *conn) pathID(path storepath.Path) (id int64, valid bool, err error) {
	return (*nixdb.Conn)(c).PathID(path)
}

func (c *conn) pathInfo(dir storepath.Dir, path storepath.Path) (*store.PathInfo, error) {
	return (*nixdb.Conn)(c).PathInfo(dir, path)
}

func (c *conn) paths(dir storepath.Dir, query string, args ...any) ([]storepath.Path, error) {
	return (*nixdb.Conn)(c).Paths(dir, query, args...)
}
