package nixdb

import (
	"slices"

	"zombiezen.com/go/sqlite"

	"pix/store"
	"pix/storepath"
)

// A PathTable contains all valid paths of one moment, sorted by their ids. Infos that are read with it share its
// strings, so a path that many others refer to is in memory once.
type PathTable struct {
	dir   storepath.Dir
	ids   []int64
	paths []storepath.Path
}

// PathTable reads all valid paths.
func (c *Conn) PathTable(dir storepath.Dir) (*PathTable, error) {
	t := &PathTable{dir: dir}
	err := c.Query("select id, path from ValidPaths order by id", func(row *sqlite.Stmt) error {
		path, err := dir.Parse(row.ColumnText(1))
		t.ids, t.paths = append(t.ids, row.ColumnInt64(0)), append(t.paths, path)
		return err
	})
	return t, err
}

// Len returns the number of paths.
func (t *PathTable) Len() int { return len(t.ids) }

// A pathFinder finds the paths of ids that are in memory.
type pathFinder interface {
	path(id int64) (storepath.Path, bool)
}

// path implements [pathFinder].
func (t *PathTable) path(id int64) (storepath.Path, bool) {
	i, found := findID(t.ids, id)
	if !found {
		return "", false
	}
	return t.paths[i], true
}

// findID returns the index of an id in sorted ids.
func findID(ids []int64, id int64) (int, bool) {
	// Usually the ids have no gaps.
	if len(ids) > 0 {
		if i := id - ids[0]; i >= 0 && i < int64(len(ids)) && ids[i] == id {
			return int(i), true
		}
	}
	return slices.BinarySearch(ids, id)
}

// The first columns are the columns of infoQuery.
const infosQuery = `
	select hash, registrationTime, deriver, narSize, ultimate, sigs, ca, reference, id
	from ValidPaths left join Refs on referrer = id
	where id between ? and ? order by id`

// infosQueryID is the column of infosQuery with the id.
const infosQueryID = 8

// Infos returns the infos of the paths in the table with the indexes from first to before end, without those that
// were deleted after the table was read.
func (c *Conn) Infos(t *PathTable, first, end int) ([]*store.PathInfo, error) {
	infos := make([]*store.PathInfo, 0, end-first)
	current := int64(-1) // the id of the last info
	var info *store.PathInfo
	err := c.Query(infosQuery, func(row *sqlite.Stmt) (err error) {
		if id := row.ColumnInt64(infosQueryID); id != current || info == nil {
			path, ok := t.path(id)
			if !ok {
				info = nil // added after the table was read, with an id that was free
				return nil
			}
			if info, err = readInfo(t.dir, path, row); err != nil {
				return err
			}
			current, infos = id, append(infos, info)
		}
		return c.readReference(t.dir, t, info, row)
	}, t.ids[first], t.ids[end-1])
	for _, info := range infos {
		slices.Sort(info.References)
	}
	return infos, err
}

// readReference adds the reference in a row of infosQuery, if there is one, to an info. The reference can have become valid
// after the known paths were read. One to a path that is not valid is left out, as in [Conn.PathInfo].
func (c *Conn) readReference(dir storepath.Dir, known pathFinder, info *store.PathInfo, row *sqlite.Stmt) error {
	if row.ColumnIsNull(7) {
		return nil
	}
	id := row.ColumnInt64(7)
	reference, found := known.path(id)
	if !found {
		var err error
		if reference, err = c.pathWithID(dir, id); err != nil || reference == "" {
			return err
		}
	}
	info.References = append(info.References, reference)
	return nil
}

// pathWithID returns the path with an id, or "" if there is none.
func (c *Conn) pathWithID(dir storepath.Dir, id int64) (path storepath.Path, err error) {
	err = c.Query("select path from ValidPaths where id = ?", func(row *sqlite.Stmt) error {
		path, err = dir.Parse(row.ColumnText(0))
		return err
	}, id)
	return path, err
}
