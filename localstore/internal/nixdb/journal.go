package nixdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/flock"
)

// journalMode returns how the database is kept from being damaged by a crash: "wal", or in Nix "truncate".
// While no connection has set another mode, SQLite calls every mode but "wal" "delete".
func (c *Conn) journalMode() (mode string, err error) {
	err = c.Query("pragma main.journal_mode", func(row *sqlite.Stmt) error { mode = row.ColumnText(0); return nil })
	return mode, err
}

// setJournal gives the database the journal that Nix gives it with that setting.
func (c *Conn) setJournal(noWAL bool) error {
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
	return c.Query("pragma main.journal_mode = "+want, func(row *sqlite.Stmt) error {
		if got := row.ColumnText(0); got != want {
			return &Error{c.file, fmt.Errorf("its journal mode is %s and cannot be changed to %s", got, want)}
		}
		return nil
	})
}

// modeChangeLimit is how long a change of the journal mode waits for other processes.
const modeChangeLimit = 5 * time.Second

// leaveWAL gives a database that has a write-ahead log a rollback journal. No other process may have it open.
func leaveWAL(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, modeChangeLimit, &Error{file,
		errors.New("other processes use it with a write-ahead log; end them, or set use-sqlite-wal = true")})
	defer cancel()
	d := &DB{file: file, uri: databaseURI(file, false), noWAL: true, flags: sqlite.OpenReadWrite | sqlite.OpenURI}
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.Exec("pragma main.journal_mode = truncate"), c.close())
}

// awaitLockDir waits until no process has locked a database that has no write-ahead log yet, in the way
// that SQLite calls unix-dotfile. The locks of other ways do not exclude those processes.
func (c *Conn) awaitLockDir() error {
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
func (c *Conn) staleLock() error {
	return &Error{c.file, fmt.Errorf("another process has locked it by the directory '%s'; if no process uses the store, remove that directory", c.file+lockDir)}
}

// staleLockAge is the age from which a lock directory counts as one that a killed process has left.
// Transactions take milliseconds.
const staleLockAge = time.Minute

// isStale reports whether the directory that locks the database seems to be of a process that was killed. The
// system releases other locks at the end of a process, but not this one. SQLite gives the directory a new time
// when a lock changes; the clock may differ from the file system's clock.
func (c *Conn) isStale(begin time.Time) bool {
	if time.Since(begin) < staleLockAge {
		return false
	}
	info, err := os.Lstat(c.file + lockDir)
	return err == nil && info.ModTime().Before(begin)
}
