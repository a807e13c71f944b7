package nixdb

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
)

// openReadOnly opens a database for reading. To read a database in WAL mode, SQLite creates the shared files beside it
// if they do not exist. In that case no process has the database open, so openReadOnly reads it without these files and
// without locks. It does the same if the file system does not allow locks.
func (d *DB) openReadOnly(ctx context.Context) (err error) {
	if d.identity, err = os.Stat(d.file); err != nil {
		return err
	}
	d.flags = sqlite.OpenReadOnly | sqlite.OpenURI
	d.pragmas = "pragma foreign_keys = 1;"
	if wal, known := hasWAL(d.file); known && wal {
		d.noWAL, d.uri = false, databaseURI(d.file, false)
		if _, err := os.Lstat(d.file + "-wal"); errors.Is(err, fs.ErrNotExist) {
			if err := d.openImmutable(ctx); !errors.Is(err, errChanged) {
				return err
			}
		}
	}
	var mode string
	err = d.Read(ctx, func(c *Conn) (err error) {
		if err := c.checkTables(); err != nil {
			return err
		}
		mode, err = c.journalMode()
		return err
	})
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultIOErr: // the files beside it, or its lock, cannot be created
		d.closeIdle()
		if d.openImmutable(ctx) == nil {
			return nil
		}
		return err
	}
	if err == nil && mode == "wal" {
		d.infos = openInfoCache(d.file)
	}
	return err
}

// openImmutable opens a database without locks. It returns errChanged if another process writes to the database. After
// an error the database can be opened in another way.
func (d *DB) openImmutable(ctx context.Context) error {
	file, err := newImmutableFile(ctx, d.file)
	if err != nil {
		return err
	}
	uri, noWAL := d.uri, d.noWAL
	d.immutable, d.uri, d.noWAL = file, databaseURI(d.file, false)+"?immutable=1", false
	if err = d.Read(ctx, (*Conn).checkTables); err != nil {
		d.closeIdle()
		d.immutable, d.uri, d.noWAL = nil, uri, noWAL
	}
	return err
}

// checkTables returns a [*SchemaError] if the database is not a database of Nix.
func (c *Conn) checkTables() error {
	err := c.Exec("select id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths limit 0")
	if errors.As(err, new(*Error)) && sqlite.ErrCode(err) == sqlite.ResultError {
		return &SchemaError{c.file, "it has no table ValidPaths with the columns of Nix 2"}
	}
	return err
}
