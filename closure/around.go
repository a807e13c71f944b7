package closure

import (
	"cmp"
	"slices"

	"pix/storepath"
)

// AroundOptions say how much [Closure.Around] returns.
type AroundOptions struct {
	Up, Down int // references to follow from the path to its referrers, and to its references
	Most     int // paths of one level; the largest ones are kept. 0 is all
}

// Surroundings are the objects near a path. The references to other objects are left out.
type Surroundings struct {
	*Closure
	Hidden map[storepath.Path]Hidden // of the paths that have some
}

// Hidden are the numbers of referrers and references of a path that are left out of its surroundings.
type Hidden struct{ Referrers, References int }

// Around returns the objects near a path: the levels of its references, and the levels of its referrers. The largest
// objects of each level are kept. The result is empty if the path is not in c.
func (c *Closure) Around(path storepath.Path, o AroundOptions) *Surroundings {
	keep := make([]bool, c.Len())
	start := c.find([]storepath.Path{path}, keep)
	referrers, first := c.referrers()
	referrersOf := func(i int32) []int32 { return referrers[first[i]:first[i+1]] }
	for level, depth := start, 0; depth < o.Down; depth++ {
		level = c.nextLevel(level, keep, c.refsOf, o.Most)
	}
	for level, depth := start, 0; depth < o.Up; depth++ {
		level = c.nextLevel(level, keep, referrersOf, o.Most)
	}
	s := &Surroundings{c.only(keep), make(map[storepath.Path]Hidden)}
	left := func(neighbours []int32) (n int) {
		for _, i := range neighbours {
			if !keep[i] {
				n++
			}
		}
		return n
	}
	for i := range keep {
		if !keep[i] {
			continue
		}
		if h := (Hidden{left(referrersOf(int32(i))), left(c.refsOf(int32(i)))}); h != (Hidden{}) {
			s.Hidden[c.paths[i]] = h
		}
	}
	return s
}

// nextLevel marks the neighbours of a level that are not marked yet, at most the largest ones, and returns them.
func (c *Closure) nextLevel(level []int32, marks []bool, neighbours func(int32) []int32, most int) []int32 {
	var next []int32
	found := make(map[int32]bool)
	for _, i := range level {
		for _, other := range neighbours(i) {
			if !marks[other] && !found[other] {
				found[other] = true
				next = append(next, other)
			}
		}
	}
	slices.SortFunc(next, func(x, y int32) int { return cmp.Or(cmp.Compare(c.sizes[y], c.sizes[x]), cmp.Compare(x, y)) })
	if most > 0 && len(next) > most {
		next = next[:most]
	}
	for _, i := range next {
		marks[i] = true
	}
	return next
}
