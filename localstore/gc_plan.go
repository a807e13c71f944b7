package localstore

import (
	"context"
	"io"
	"os"
	"slices"

	"zombiezen.com/go/sqlite"

	"pix/store"
	"pix/storepath"
)

// A victim is a path or file that the collection will delete: a valid path, or a file in the store directory that
// belongs to no valid path.
type victim struct {
	node int32      // of a valid path in the graph, or -1
	file *otherFile // nil if the path is valid
}

// An otherFile is a file in the store directory that belongs to no valid path.
type otherFile struct {
	base string         // the name in the store directory
	path storepath.Path // "" if the file has no name of a store path
}

// A plan contains the results of a collection.
type plan struct {
	live    []string
	victims []victim       // each path comes after its referrers; see collection.dead
	alive   storepath.Path // a live path that should have been deleted, or ""
}

// name returns the name of a victim in the logical store directory, as Nix prints it.
func (c *collection) name(v victim) string {
	if v.node >= 0 {
		return string(c.graph.paths[v.node])
	}
	return string(c.dir) + "/" + v.file.base
}

// base returns the name of a victim in the store directory.
func (c *collection) base(v victim) string {
	if v.node >= 0 {
		return c.graph.paths[v.node].Base()
	}
	return v.file.base
}

// plan decides for each name in the store directory whether to delete it. As in Nix, the names keep the order in which
// the system lists them. If the collection has a size limit, the order decides which paths it deletes.
func (c *collection) plan(ctx context.Context) (*plan, error) {
	p := new(plan)
	if c.opts.Paths != nil || c.opts.Action == store.GCDeleteSpecific {
		c.planPaths(p)
		return p, nil
	}
	dir, err := os.Open(c.storeDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if c.deletes() {
		p.victims = make([]victim, 0, len(c.graph.paths)) // nearly all of them if there are no roots
	}
	for {
		const atOnce = 4096
		names, err := dir.Readdirnames(atOnce)
		for _, name := range names {
			c.planName(p, name)
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if c.opts.Action == store.GCReturnLive {
		c.addLive(p)
	}
	return p, ctx.Err()
}

// planName decides about a name in the store directory.
func (c *collection) planName(p *plan, name string) {
	if name == ".links" {
		return
	}
	path, err := c.dir.ParseBase(name)
	switch {
	case err == nil:
		c.planPath(p, path, nil)
	case c.opts.Action != store.GCReturnLive:
		p.victims = append(p.victims, victim{-1, &otherFile{base: name}})
	}
}

// planPath plans to delete a path and the paths that need it, and reports whether they are dead. If only is not nil and
// does not contain all of them, planPath plans nothing and returns false.
func (c *collection) planPath(p *plan, path storepath.Path, only map[storepath.Path]bool) (dead bool) {
	i, valid := c.graph.find(path)
	if !valid {
		if c.temp[path.HashPart()] {
			p.live = append(p.live, string(path))
			return false
		}
		p.victims = append(p.victims, victim{-1, &otherFile{path.Base(), path}})
		return true
	}
	if c.marks[i] != notMarked {
		return false
	}
	if c.states[i] != notPlanned {
		return true
	}
	unit := c.dependents(i)
	if only != nil {
		for _, j := range unit {
			if !only[c.graph.paths[j]] {
				return false
			}
		}
	}
	for _, j := range unit {
		c.planOne(p, j)
	}
	return true
}

// dependents returns a dead path, and the dead paths that need it and are not planned yet.
func (c *collection) dependents(i int32) []int32 {
	if len(c.needs.of(i)) == 0 && len(c.keeps.of(i)) == 0 {
		return []int32{i}
	}
	unit := []int32{i}
	seen := map[int32]bool{i: true}
	for k := 0; k < len(unit); k++ {
		for _, by := range [...][]int32{c.needs.of(unit[k]), c.keeps.of(unit[k])} {
			for _, j := range by {
				// A path that a live path needs is live, so none of these is live.
				if c.states[j] == notPlanned && !seen[j] {
					seen[j] = true
					unit = append(unit, j)
				}
			}
		}
	}
	return unit
}

// planOne plans to delete a path, after the paths that refer to it.
func (c *collection) planOne(p *plan, i int32) {
	if c.states[i] != notPlanned {
		return
	}
	// A chain of references can contain every path of the store, so recursion could need too much stack.
	type frame struct{ node, next int32 }
	stack := []frame{{i, 0}}
	c.states[i] = planned
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		referrers := c.needs.of(top.node)
		if int(top.next) < len(referrers) {
			j := referrers[top.next]
			top.next++
			if c.states[j] == notPlanned {
				c.states[j] = planned
				stack = append(stack, frame{j, 0})
			}
			continue
		}
		if c.deletes() {
			p.victims = append(p.victims, victim{node: top.node})
		}
		stack = stack[:len(stack)-1]
	}
}

// dead returns the names of the dead paths and files, in any order. When nothing is deleted, the plan of a whole store has its
// valid paths only in c.states, because a list of a million victims takes 16 MB.
func (c *collection) dead(p *plan) []string {
	n := len(p.victims)
	for _, state := range c.states {
		if state == planned {
			n++
		}
	}
	names := make([]string, 0, n)
	for _, v := range p.victims {
		names = append(names, c.name(v))
	}
	for i, state := range c.states {
		if state == planned {
			names = append(names, string(c.graph.paths[i]))
		}
	}
	return names
}

// deadArchives returns the total size of the archives of the dead paths. It reads the sizes from the beginning of the
// database to its end: to look up a million dead paths takes three times as long as the rest of the collection.
func (c *collection) deadArchives(ctx context.Context, p *plan) (size uint64, err error) {
	for _, v := range p.victims {
		if v.file == nil {
			c.states[v.node] = planned
		}
	}
	err = c.read(ctx, func(db *conn) error {
		return db.query("select id, narSize from ValidPaths where narSize > 0", func(row *sqlite.Stmt) error {
			// A path without a node was added after the graph was read.
			if i, ok := c.graph.byID(row.ColumnInt64(0)); ok && c.states[i] == planned {
				size += uint64(row.ColumnInt64(1))
			}
			return nil
		})
	})
	return size, err
}

// planPaths plans only for the paths in the options.
func (c *collection) planPaths(p *plan) {
	paths := slices.Clone(c.opts.Paths)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	only := make(map[storepath.Path]bool, len(paths))
	for _, path := range paths {
		only[path] = true
	}
	if c.opts.DeleteReferrers {
		only = nil
	}
	for _, path := range paths {
		i, valid := c.graph.find(path)
		switch {
		case c.opts.Action == store.GCReturnLive:
			if valid && c.marks[i] != notMarked || c.temp[path.HashPart()] {
				p.live = append(p.live, string(path))
			}
		case c.opts.Action == store.GCReturnDead:
			if valid && c.marks[i] == notMarked {
				p.victims = append(p.victims, victim{node: i})
			}
		case !c.planPath(p, path, only) && c.opts.Action == store.GCDeleteSpecific:
			// As in Nix, the paths before it are still deleted.
			p.alive = path
			return
		}
	}
}

// addLive adds the valid paths that are live to the plan.
func (c *collection) addLive(p *plan) {
	for i, m := range c.marks {
		if m != notMarked {
			p.live = append(p.live, string(c.graph.paths[i]))
		}
	}
}
