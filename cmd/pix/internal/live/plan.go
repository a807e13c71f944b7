package live

import (
	"cmp"
	"slices"
)

// A Plan has the derivations that will be built, and for each its inputs. Inputs that are not in the plan are
// ignored.
type Plan map[string][]string

// Plan sets the plan. Without a plan the view has no tree, and of builds that have not started it has only the
// number.
func (s *State) Plan(p Plan) {
	for drv, inputs := range p {
		b := s.planBuild(drv)
		for _, input := range inputs {
			if _, ok := p[input]; ok && input != drv {
				in := s.planBuild(input)
				b.inputs, in.dependents = append(b.inputs, in), append(in.dependents, b)
			}
		}
	}
	slices.SortFunc(s.planned, byName)
	for _, b := range s.planned {
		slices.SortFunc(b.dependents, byName)
		b.missingInputs = 0
		for _, in := range b.inputs {
			if in.state != built {
				b.missingInputs++
			}
		}
	}
	s.buildTree()
	s.setFirsts()
	for _, b := range s.planned {
		if b.state == failed {
			s.block(b)
		}
	}
}

// planBuild returns the build of a derivation of the plan, and creates it if needed.
func (s *State) planBuild(drv string) *build {
	b := s.builds[drv]
	if b == nil {
		b = s.newBuild(drv)
		s.builds[drv] = b // without a limit: the command holds the whole plan in any case
	}
	if !b.counted {
		b.counted = true
		s.inState[b.state]++
	}
	if !b.isPlanned {
		b.isPlanned = true
		s.planned = append(s.planned, b)
	}
	return b
}

// setFirst sets the first serial of a build that has started, and of the builds above it in the tree. Rows are sorted by
// it. It never changes again, so a row keeps its place when the rows below it disappear.
func (b *build) setFirst() {
	for up := b; up != nil && up.first == 0; up = up.parent {
		up.first = b.serial
	}
}

// setFirsts sets the first serials again for another tree.
func (s *State) setFirsts() {
	var started []*build
	for _, b := range s.planned {
		b.first = 0
		if b.serial > 0 {
			started = append(started, b)
		}
	}
	slices.SortFunc(started, func(a, b *build) int { return cmp.Compare(a.serial, b.serial) })
	for _, b := range started {
		b.setFirst()
	}
}

// byName compares two builds by name and derivation. A nil build equals every other.
func byName(a, b *build) int {
	if a == nil || b == nil {
		return 0
	}
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.drv, b.drv))
}

// buildTree gives each build of the plan a parent: of its dependents the one with the longest chain from a root, so
// the children of a build are the inputs that it waits for longest. A hostile daemon may report a cycle; the builds
// in it get no parent.
func (s *State) buildTree() {
	missing := make(map[*build]int) // the number of dependents without a depth
	var ready []*build
	for _, b := range s.planned {
		b.parent, b.depth = nil, 0
		if missing[b] = len(b.dependents); missing[b] == 0 {
			ready = append(ready, b)
		}
	}
	for len(ready) > 0 {
		b := ready[0]
		ready = ready[1:]
		for _, in := range b.inputs {
			if in.parent == nil || in.depth <= b.depth {
				in.parent, in.depth = b, b.depth+1
			}
			if missing[in]--; missing[in] == 0 {
				ready = append(ready, in)
			}
		}
	}
	for b, n := range missing {
		if n > 0 {
			b.parent = nil
		}
	}
}
