package nixdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/internal/flock"
)

// journalMode returns the journal mode of the database: "wal" for a write-ahead log. Nix uses "truncate" for a rollback
// journal. SQLite returns "delete" for every rollback journal until the connection sets another mode.
func (c *Conn) journalMode() (mode string, err error) {
	err = c.Query("pragma main.journal_mode", func(row *sqlite.Stmt) error { mode = row.ColumnText(0); return nil })
	return mode, err
}

// setJournal changes the journal mode to the one that Nix uses with this setting.
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

// leaveWAL changes the journal mode of a database from a write-ahead log to a rollback journal. No other process may
// have it open.
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

// awaitLockDir waits until no process holds the lock directory of a database without a write-ahead log. A connection
// with a write-ahead log uses other locks (SQLite's VFS unix instead of unix-dotfile), which do not exclude such a
// process.
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

// lockDir is the suffix of the directory that locks a database without a write-ahead log.
const lockDir = ".lock"

// staleLock returns the error for a lock that a killed process has probably left.
func (c *Conn) staleLock() error {
	return &Error{c.file, fmt.Errorf("another process has locked it by the directory '%s'; if no process uses the store, remove that directory", c.file+lockDir)}
}

// staleLockAge is the age at which a lock directory is considered stale. Transactions take milliseconds.
const staleLockAge = time.Minute

// isStale reports whether a killed process has probably left the lock directory. The system releases other locks at the
// end of a process, but not this one. SQLite updates the time of the directory when the lock changes. begin is when the
// wait began; the file system may have another clock.
func (c *Conn) isStale(begin time.Time) bool {
	if time.Since(begin) < staleLockAge {
		return false
	}
	info, err := os.Lstat(c.file + lockDir)
	return err == nil && info.ModTime().Before(begin)
}
