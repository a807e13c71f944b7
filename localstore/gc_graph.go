package localstore

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"pix/storepath"
)

// A graph contains the valid paths and the paths that they need, as of one moment. It is in memory, because a query of
// the database for each path would make a collection slow. A node is the index of a path in paths.
type graph struct {
	dir   storepath.Dir
	paths []storepath.Path
	ids   []int64 // in the database, ascending

	byHash hashTable // nodes by the hash parts of their paths

	refs edges // from each path to the paths that it refers to, except itself
	keep edges // from each path to the derivers and outputs that settings keep with it

	unknownOutputs []int32 // derivations whose outputs follow from realisations, if outputs are kept
}

// edges contain a list of nodes for each node.
type edges struct {
	start []int32 // index in to of the list of each node, and the length of to
	to    []int32
}

func (e edges) of(i int32) []int32 { return e.to[e.start[i]:e.start[i+1]] }

// An edge leads from a node to a node that it needs.
type edge struct{ from, to int32 }

// newEdges sorts edges between n nodes into lists.
func newEdges(n int, all []edge) edges {
	e := edges{start: make([]int32, n+1), to: make([]int32, len(all))}
	for _, a := range all {
		e.start[a.from+1]++
	}
	for i := range n {
		e.start[i+1] += e.start[i]
	}
	next := slices.Clone(e.start)
	for _, a := range all {
		e.to[next[a.from]] = a.to
		next[a.from]++
	}
	return e
}

// reversed returns the edges in the opposite direction.
func (e edges) reversed() edges {
	n := len(e.start) - 1
	r := edges{start: make([]int32, n+1), to: make([]int32, len(e.to))}
	for _, j := range e.to {
		r.start[j+1]++
	}
	for i := range n {
		r.start[i+1] += r.start[i]
	}
	next := slices.Clone(r.start)
	for i := range n {
		for _, j := range e.of(int32(i)) {
			r.to[next[j]] = int32(i)
			next[j]++
		}
	}
	return r
}

// loadGraph reads the graph from the database.
func (s *Store) loadGraph(ctx context.Context, keepOutputs, keepDerivations bool) (*graph, error) {
	g := &graph{dir: s.dir}
	var keep []edge
	err := s.read(ctx, func(c *conn) error {
		return c.snapshot(func() (err error) {
			keep, err = g.load(c, keepOutputs, keepDerivations)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	realised, err := s.realisedOutputs(ctx, g)
	if err != nil {
		return nil, err
	}
	g.keep = newEdges(len(g.paths), append(keep, realised...))
	return g, nil
}

// load reads everything except g.keep, and returns the edges for g.keep.
func (g *graph) load(c *conn, keepOutputs, keepDerivations bool) (keep []edge, err error) {
	if err := g.loadPaths(c); err != nil {
		return nil, err
	}
	if err := g.loadRefs(c); err != nil {
		return nil, err
	}
	if keepDerivations {
		if keep, err = g.loadDerivers(c); err != nil {
			return nil, err
		}
	}
	if !keepOutputs {
		return keep, nil
	}
	outputs, err := g.loadOutputs(c)
	return append(keep, outputs...), err
}

func (g *graph) loadPaths(c *conn) error {
	err := c.query("select count(*) from ValidPaths", func(row *sqlite.Stmt) error {
		n := row.ColumnInt(0)
		g.paths, g.ids, g.byHash = make([]storepath.Path, 0, n), make([]int64, 0, n), newHashTable(n)
		return nil
	})
	if err != nil {
		return err
	}
	return c.query("select id, path from ValidPaths order by id", func(row *sqlite.Stmt) error {
		path, err := g.dir.Parse(row.ColumnText(1))
		if err != nil {
			return err
		}
		g.byHash.add(path.HashPart(), int32(len(g.paths)))
		g.paths = append(g.paths, path)
		g.ids = append(g.ids, row.ColumnInt64(0))
		return nil
	})
}

// loadDerivers returns the edges from paths to their valid derivers. They are found while the query runs, because the
// texts of all derivers would take as much memory as the paths.
func (g *graph) loadDerivers(c *conn) (all []edge, err error) {
	err = c.query("select id, deriver from ValidPaths where deriver is not null", func(row *sqlite.Stmt) error {
		from, ok := g.byID(row.ColumnInt64(0))
		deriver, err := g.dir.Parse(row.ColumnText(1))
		if !ok || err != nil { // a deriver that is not a store path keeps nothing
			return nil
		}
		if to, valid := g.find(deriver); valid && to != from {
			all = append(all, edge{from, to})
		}
		return nil
	})
	return all, err
}

// loadRefs reads the references in the order of the nodes, so the lists need no second copy of all edges.
func (g *graph) loadRefs(c *conn) error {
	to, start := []int32{}, make([]int32, 1, len(g.paths)+1)
	err := c.query("select count(*) from Refs", func(row *sqlite.Stmt) error {
		to = make([]int32, 0, row.ColumnInt(0))
		return nil
	})
	if err != nil {
		return err
	}
	err = c.query("select referrer, reference from Refs order by referrer, reference", func(row *sqlite.Stmt) error {
		from, ok1 := g.byID(row.ColumnInt64(0))
		node, ok2 := g.byID(row.ColumnInt64(1))
		if !ok1 || !ok2 || from == node {
			return nil
		}
		for int(from) >= len(start) {
			start = append(start, int32(len(to)))
		}
		to = append(to, node)
		return nil
	})
	for len(start) <= len(g.paths) {
		start = append(start, int32(len(to)))
	}
	g.refs = edges{start, to}
	return err
}

// loadOutputs returns the edges from derivations to their valid outputs.
func (g *graph) loadOutputs(c *conn) ([]edge, error) {
	var all []edge
	known := make(map[int32]bool)
	err := c.query("select drv, path from DerivationOutputs", func(row *sqlite.Stmt) error {
		from, ok := g.byID(row.ColumnInt64(0))
		if !ok {
			return nil
		}
		known[from] = true
		path, err := g.dir.Parse(row.ColumnText(1))
		if err != nil {
			return err
		}
		if to, ok := g.find(path); ok && to != from {
			all = append(all, edge{from, to})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if has, err := c.hasRealisations(); err != nil || !has {
		return all, err
	}
	for i, p := range g.paths {
		if p.IsDerivation() && !known[int32(i)] {
			g.unknownOutputs = append(g.unknownOutputs, int32(i))
		}
	}
	return all, nil
}

// realisedOutputs returns the edges from derivations to outputs whose paths do not follow from the derivation. To find
// them it reads and hashes derivations.
func (s *Store) realisedOutputs(ctx context.Context, g *graph) ([]edge, error) {
	var all []edge
	reader := s.newOutputReader() // one reader for all derivations resolves each input once
	for _, from := range g.unknownOutputs {
		outputs, err := reader.outputMap(ctx, g.paths[from])
		reader.close() // lets other calls read a large derivation
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			logf(ctx, "warning: cannot determine the outputs of '%s': %v", g.paths[from], err)
			continue
		}
		for _, path := range outputs {
			if path == "" {
				continue
			}
			if to, ok := g.find(path); ok {
				all = append(all, edge{from, to})
			}
		}
	}
	return all, nil
}

// byID returns the node of the path with an id in the database.
func (g *graph) byID(id int64) (int32, bool) {
	// Usually the ids have no gaps.
	if len(g.ids) > 0 {
		if i := id - g.ids[0]; i >= 0 && i < int64(len(g.ids)) && g.ids[i] == id {
			return int32(i), true
		}
	}
	i, ok := slices.BinarySearch(g.ids, id)
	return int32(i), ok
}

// find returns the node of a path, and false if the path is not valid.
func (g *graph) find(path storepath.Path) (int32, bool) {
	for i := range g.byHash.candidates(path.HashPart()) {
		if g.paths[i] == path {
			return i, true
		}
	}
	return 0, false
}

// withHash returns the nodes of the paths with a hash part. A consistent store has at most one.
func (g *graph) withHash(hashPart string) (nodes []int32) {
	for i := range g.byHash.candidates(hashPart) {
		if g.paths[i].HashPart() == hashPart {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// A mark says whether a path is needed: it is notMarked, byRoot, or the node that needs the path.
type mark int32

const (
	notMarked mark = -2
	byRoot    mark = -1
)

// newMarks returns marks that are all notMarked.
func (g *graph) newMarks() []mark {
	marks := make([]mark, len(g.paths))
	for i := range marks {
		marks[i] = notMarked
	}
	return marks
}

// markFrom marks roots and the nodes that they need, except nodes that are already marked. It is a breadth-first
// search, so the marks lead back to a root on a shortest path.
func (g *graph) markFrom(marks []mark, roots ...int32) {
	var todo []int32
	for _, i := range roots {
		if marks[i] == notMarked {
			marks[i] = byRoot
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		for _, needs := range [...][]int32{g.refs.of(i), g.keep.of(i)} {
			for _, j := range needs {
				if marks[j] == notMarked {
					marks[j] = mark(i)
					todo = append(todo, j)
				}
			}
		}
	}
}
