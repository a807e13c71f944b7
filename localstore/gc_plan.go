package localstore

import (
	"context"
	"os"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A victim is what is to be deleted: a valid path by its place in the graph, or something that
// lies in the store directory without being valid.
type victim struct {
	place int32          // or -1
	base  string         // its name in the store directory, unless it is in the graph
	path  storepath.Path // of what is in no graph; "" if it has no name of a store path
}

// A plan says what a collection will do.
type plan struct {
	live    []string
	victims []victim       // in such an order that nothing is deleted before what refers to it
	alive   storepath.Path // one that should be deleted, and cannot be; "" if there is none
}

// name returns the name of a victim as Nix prints it.
func (c *collection) name(v victim) string {
	if v.place >= 0 {
		return string(c.graph.paths[v.place])
	}
	return string(c.dir) + "/" + v.base
}

// base returns the name of a victim in the store directory.
func (c *collection) base(v victim) string {
	if v.place >= 0 {
		return c.graph.paths[v.place].Base()
	}
	return v.base
}

// plan judges what lies in the store directory, in the order in which it does, as Nix does: where
// a collection ends at some size, that decides what is deleted.
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
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == ".links" {
			continue
		}
		path, err := c.dir.ParseBase(name)
		if err != nil {
			if c.opts.Action != store.GCReturnLive {
				p.victims = append(p.victims, victim{place: -1, base: name})
			}
			continue
		}
		c.judge(p, path, nil)
	}
	if c.opts.Action == store.GCReturnLive {
		c.addLive(p)
	}
	return p, ctx.Err()
}

// judge plans to delete a path and all that needs it, or notes that it is live. If only is not nil,
// all of that has to be in it; else nothing is planned.
func (c *collection) judge(p *plan, path storepath.Path, only map[storepath.Path]bool) (dead bool) {
	i, valid := c.graph.find(path)
	if !valid {
		if c.temp[path.HashPart()] {
			p.live = append(p.live, string(path))
			return false
		}
		p.victims = append(p.victims, victim{place: -1, base: path.Base(), path: path})
		return true
	}
	if c.marks[i] != notMarked {
		return false
	}
	if c.fates[i] != unplanned {
		return true
	}
	unit := c.needing(i)
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

// needing returns a path and all dead ones that need it and are not planned yet.
func (c *collection) needing(i int32) []int32 {
	if len(c.needs.of(i)) == 0 && len(c.keeps.of(i)) == 0 {
		return []int32{i}
	}
	unit := []int32{i}
	seen := map[int32]bool{i: true}
	for k := 0; k < len(unit); k++ {
		for _, by := range [...][]int32{c.needs.of(unit[k]), c.keeps.of(unit[k])} {
			for _, j := range by {
				// What is needed by something live is live, so there is nothing live here.
				if c.fates[j] == unplanned && !seen[j] {
					seen[j] = true
					unit = append(unit, j)
				}
			}
		}
	}
	return unit
}

// planOne plans to delete a path, after all that refer to it.
func (c *collection) planOne(p *plan, i int32) {
	if c.fates[i] != unplanned {
		return
	}
	// A chain of references may be as long as the store is large, so this does not recurse.
	type frame struct{ place, next int32 }
	stack := []frame{{i, 0}}
	c.fates[i] = planned
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		referrers := c.needs.of(top.place)
		if int(top.next) < len(referrers) {
			j := referrers[top.next]
			top.next++
			if c.fates[j] == unplanned {
				c.fates[j] = planned
				stack = append(stack, frame{j, 0})
			}
			continue
		}
		p.victims = append(p.victims, victim{place: top.place})
		stack = stack[:len(stack)-1]
	}
}

// planPaths judges the given paths alone.
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
				p.victims = append(p.victims, victim{place: i})
			}
		case !c.judge(p, path, only) && c.opts.Action == store.GCDeleteSpecific:
			// As in Nix, those before it are deleted all the same.
			p.alive = path
			return
		}
	}
}

// addLive notes the valid paths that are live.
func (c *collection) addLive(p *plan) {
	for i, m := range c.marks {
		if m != notMarked {
			p.live = append(p.live, string(c.graph.paths[i]))
		}
	}
}
