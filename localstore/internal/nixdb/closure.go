package nixdb

import (
	"cmp"
	"errors"
	"slices"

	"zombiezen.com/go/sqlite"

	"pix/store"
	"pix/storepath"
)

// A Closure contains the paths of a closure as of one moment.
type Closure struct {
	dir   storepath.Dir
	paths []storepath.Path // sorted
	ids   []int64          // sorted
	order []int32          // the index in ids of each path
	rank  []int32          // the index in paths of each id
}

// Closure returns the closure of roots. It returns a [*store.NotFoundError] if a root is not valid, and a
// [*store.LimitError] if the closure exceeds the limits of paths or references.
//
// It follows the ids in the table of references, and reads each path once. For a million paths this takes a tenth of the
// time of a query for each path info.
func (c *Conn) Closure(dir storepath.Dir, roots []storepath.Path, limits store.Limits) (*Closure, error) {
	t := &Closure{dir: dir}
	var paths []storepath.Path // in the order of ids
	err := c.Snapshot(func() error {
		ids, err := c.closureIDs(roots, limits)
		if err == nil {
			paths, err = c.readPaths(t, ids)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	n := len(paths)
	t.paths, t.order, t.rank = make([]storepath.Path, n), make([]int32, n), make([]int32, n)
	for i := range t.order {
		t.order[i] = int32(i)
	}
	slices.SortFunc(t.order, func(a, b int32) int { return cmp.Compare(paths[a], paths[b]) })
	for i, at := range t.order {
		t.paths[i], t.rank[at] = paths[at], int32(i)
	}
	return t, nil
}

// Paths returns the paths, sorted. The caller must not change them.
func (t *Closure) Paths() []storepath.Path { return t.paths }

// path implements [pathFinder].
func (t *Closure) path(id int64) (storepath.Path, bool) {
	i, found := findID(t.ids, id)
	if !found {
		return "", false
	}
	return t.paths[t.rank[i]], true
}

// closureIDs returns the ids of the paths in the closure of roots, sorted.
func (c *Conn) closureIDs(roots []storepath.Path, limits store.Limits) (all []int64, err error) {
	found := make(idSet)
	var next []int64 // the ids at the next distance
	add := func(id int64) {
		if found.add(id) {
			next = append(next, id)
		}
	}
	for _, root := range roots {
		id, valid, err := c.PathID(root)
		if err != nil {
			return nil, err
		}
		if !valid {
			return nil, &store.NotFoundError{Path: root}
		}
		add(id)
		if e := limits.Exceeded(len(next), 0, 0); e != nil {
			return nil, e
		}
	}
	references := 0
	for len(next) > 0 {
		ids := next
		next = nil
		slices.Sort(ids)
		all = append(all, ids...)
		err := c.forIDs("select reference, referrer from Refs where referrer between ? and ? order by referrer, reference", 1, ids, func(_ int, row *sqlite.Stmt) error {
			references++
			add(row.ColumnInt64(0))
			if e := limits.Exceeded(len(all)+len(next), references, 0); e != nil {
				return e
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

// readPaths sets t.ids to the valid ones of these ids, which are sorted, and returns their paths.
func (c *Conn) readPaths(t *Closure, ids []int64) ([]storepath.Path, error) {
	t.ids = make([]int64, 0, len(ids))
	paths := make([]storepath.Path, 0, len(ids))
	err := c.forIDs("select path, id from ValidPaths where id between ? and ? order by id", 1, ids, func(i int, row *sqlite.Stmt) error {
		path, err := t.dir.Parse(row.ColumnText(0))
		t.ids, paths = append(t.ids, ids[i]), append(paths, path)
		return err
	})
	return paths, err
}

// ClosureInfos returns the infos of the paths of a closure with the sorted indexes from first to before end. The info of
// a path that has been deleted meanwhile is nil, even if it was added again, with another id. The connection must be one
// to the database of the closure: another one has other ids.
func (c *Conn) ClosureInfos(t *Closure, first, end int) ([]*store.PathInfo, error) {
	infos := make([]*store.PathInfo, end-first)
	at := make([]int32, len(infos)) // indexes of infos, sorted by id
	for i := range at {
		at[i] = int32(i)
	}
	order := t.order[first:end]
	slices.SortFunc(at, func(a, b int32) int { return cmp.Compare(order[a], order[b]) })
	ids := make([]int64, len(at))
	for i := range ids {
		ids[i] = t.ids[order[at[i]]]
	}
	err := c.Snapshot(func() error {
		return c.forIDs(infosQuery, infosQueryID, ids, func(i int, row *sqlite.Stmt) (err error) {
			info := infos[at[i]]
			if info == nil {
				if info, err = readInfo(t.dir, t.paths[first+int(at[i])], row); err != nil {
					return err
				}
				infos[at[i]] = info
			}
			return c.readReference(t.dir, t, info, row)
		})
	})
	for _, info := range infos {
		if info != nil {
			slices.Sort(info.References)
		}
	}
	return infos, err
}

// AddInfos adds the missing ones of the infos of paths. The info of a path that is not valid remains nil.
func (c *Conn) AddInfos(dir storepath.Dir, paths []storepath.Path, infos []*store.PathInfo) error {
	for i, path := range paths {
		if infos[i] != nil {
			continue
		}
		info, err := c.PathInfo(dir, path)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		infos[i] = info
	}
	return nil
}

// forIDs runs a query with the bounds of ranges that contain all ids, which are sorted. It calls row with the index of an
// id, and each row whose column has that id. The query must sort the rows by this column.
func (c *Conn) forIDs(query string, column int, ids []int64, row func(i int, row *sqlite.Stmt) error) error {
	for begin := 0; begin < len(ids); {
		end := denseEnd(ids, begin)
		i := begin
		err := c.Query(query, func(r *sqlite.Stmt) error {
			id := r.ColumnInt64(column)
			for i < end && ids[i] < id {
				i++
			}
			if i == end || ids[i] != id {
				return nil
			}
			return row(i, r)
		}, ids[begin], ids[end-1])
		if err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// denseEnd returns the end of a part of the ids that begins at begin. Its ids lie so closely together that reading a range of rows is
// faster than searching for each id.
func denseEnd(ids []int64, begin int) int {
	const maxGap = 4
	end := begin + 1
	for end < len(ids) && ids[end] <= ids[end-1]+maxGap {
		end++
	}
	return end
}

// An idSet contains ids of rows. Ids are usually dense, so it is a bitmap with pages of 1024 bits, which takes a fraction of
// the memory of a map. Each id of a sparse set takes a page.
type idSet map[int64]*[16]uint64

// add adds an id, and reports whether it was not in the set.
func (s idSet) add(id int64) bool {
	page := s[id>>10]
	if page == nil {
		page = new([16]uint64)
		s[id>>10] = page
	}
	word, bit := &page[id>>6&15], uint64(1)<<(id&63)
	isNew := *word&bit == 0
	*word |= bit
	return isNew
}
