package nixdb

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// infoQuery selects the info of a path in one statement, so that all parts belong to the same state. It returns a row
// for each reference, or one row with null as the reference.
const infoQuery = `
	select v.hash, v.registrationTime, v.deriver, v.narSize, v.ultimate, v.sigs, v.ca, r.path
	from ValidPaths v left join Refs on referrer = v.id left join ValidPaths r on r.id = reference
	where v.path = ?`

// PathInfo returns the info of a path in this store directory. It returns a [*store.NotFoundError] if the path is not
// valid.
func (c *Conn) PathInfo(dir storepath.Dir, path storepath.Path) (info *store.PathInfo, err error) {
	err = c.Query(infoQuery, func(row *sqlite.Stmt) error {
		if info == nil {
			if info, err = readInfo(dir, path, row); err != nil {
				return err
			}
		}
		if row.ColumnIsNull(7) {
			return nil
		}
		reference, err := dir.Parse(row.ColumnText(7))
		info.References = append(info.References, reference)
		return err
	}, string(path))
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	slices.Sort(info.References)
	return info, nil
}

// readInfo reads a row of infoQuery, without the reference.
func readInfo(dir storepath.Dir, path storepath.Path, row *sqlite.Stmt) (*store.PathInfo, error) {
	info := &store.PathInfo{
		Path:     path,
		NARSize:  uint64(row.ColumnInt64(3)),
		Ultimate: row.ColumnInt64(4) == 1,
	}
	var err error
	if info.NARHash, err = nixhash.Parse(row.ColumnText(0)); err != nil {
		return nil, fmt.Errorf("the database has no valid hash of '%s': %w", path, err)
	}
	if seconds := row.ColumnInt64(1); seconds != 0 {
		info.RegistrationTime = time.Unix(seconds, 0).UTC()
	}
	if deriver := row.ColumnText(2); deriver != "" {
		if info.Deriver, err = dir.Parse(deriver); err != nil {
			return nil, fmt.Errorf("the database has no valid deriver of '%s': %w", path, err)
		}
	}
	if sigs := row.ColumnText(5); sigs != "" {
		info.Signatures = strings.Fields(sigs)
		slices.Sort(info.Signatures)
	}
	if ca := row.ColumnText(6); ca != "" {
		if info.CA, err = storepath.ParseContentAddress(ca); err != nil {
			return nil, fmt.Errorf("the database has no valid content address of '%s': %w", path, err)
		}
	}
	return info, nil
}

// NARHash returns the hash of the archive of a path. It returns a [*store.NotFoundError] if the path is not valid.
func (c *Conn) NARHash(path storepath.Path) (hash nixhash.Hash, err error) {
	err = c.Query("select hash from ValidPaths where path = ?", func(row *sqlite.Stmt) (err error) {
		hash, err = nixhash.Parse(row.ColumnText(0))
		return err
	}, string(path))
	if err == nil && hash.IsZero() {
		err = &store.NotFoundError{Path: path}
	}
	return hash, err
}

// PathID returns the id of a path in the database, and reports whether the path is valid.
func (c *Conn) PathID(path storepath.Path) (id int64, valid bool, err error) {
	err = c.Query("select id from ValidPaths where path = ?", func(row *sqlite.Stmt) error {
		id, valid = row.ColumnInt64(0), true
		return nil
	}, string(path))
	return id, valid, err
}

// Paths returns the paths in the first column of a query, sorted.
func (c *Conn) Paths(dir storepath.Dir, query string, args ...any) (paths []storepath.Path, err error) {
	err = c.Query(query, func(row *sqlite.Stmt) error {
		path, err := dir.Parse(row.ColumnText(0))
		paths = append(paths, path)
		return err
	}, args...)
	slices.Sort(paths)
	return paths, err
}

// ReferrersQuery selects the valid paths that refer to a path.
const ReferrersQuery = `
	select path from Refs join ValidPaths on referrer = id
	where reference = (select id from ValidPaths where path = ?)`
