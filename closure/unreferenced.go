package closure

import "pix/storepath"

// Unreferenced returns the paths to which no other path of the closure refers, sorted. Every path is in the closure of
// these, unless it is in a cycle ([Closure.Cycles]) or needed only by one.
func (c *Closure) Unreferenced() []storepath.Path {
	referenced := make([]bool, c.Len())
	for _, ref := range c.refs {
		referenced[ref] = true
	}
	var paths []storepath.Path
	for i, path := range c.paths {
		if !referenced[i] {
			paths = append(paths, path)
		}
	}
	return paths
}
