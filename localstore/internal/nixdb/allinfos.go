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

// find returns the index of the path with an id.
func (t *PathTable) find(id int64) (int, bool) {
	// Usually the ids have no gaps.
	if len(t.ids) > 0 {
		if i := id - t.ids[0]; i >= 0 && i < int64(len(t.ids)) && t.ids[i] == id {
			return int(i), true
		}
	}
	return slices.BinarySearch(t.ids, id)
}

// The first columns are the columns of infoQuery.
const infosQuery = `
	select hash, registrationTime, deriver, narSize, ultimate, sigs, ca, reference, id
	from ValidPaths left join Refs on referrer = id
	where id between ? and ? order by id`

// Infos returns the infos of the paths in the table with the indexes from first to before end, without those that
// were deleted after the table was read.
func (c *Conn) Infos(t *PathTable, first, end int) ([]*store.PathInfo, error) {
	infos := make([]*store.PathInfo, 0, end-first)
	current := int64(-1) // the id of the last info
	var info *store.PathInfo
	err := c.Query(infosQuery, func(row *sqlite.Stmt) (err error) {
		if id := row.ColumnInt64(8); id != current || info == nil {
			i, ok := t.find(id)
			if !ok {
				info = nil // added after the table was read, with an id that was free
				return nil
			}
			if info, err = readInfo(t.dir, t.paths[i], row); err != nil {
				return err
			}
			current, infos = id, append(infos, info)
		}
		if row.ColumnIsNull(7) {
			return nil
		}
		reference, err := c.pathWithID(t, row.ColumnInt64(7))
		info.References = append(info.References, reference)
		return err
	}, t.ids[first], t.ids[end-1])
	for _, info := range infos {
		slices.Sort(info.References)
	}
	return infos, err
}

// pathWithID returns the path with an id, also if it was added after the table was read.
func (c *Conn) pathWithID(t *PathTable, id int64) (path storepath.Path, err error) {
	if i, ok := t.find(id); ok {
		return t.paths[i], nil
	}
	err = c.Query("select path from ValidPaths where id = ?", func(row *sqlite.Stmt) error {
		path, err = t.dir.Parse(row.ColumnText(0))
		return err
	}, id)
	return path, err
}
