package live

import "slices"

// A Plan says what is going to be built: each derivation, and which of the others are
// among its inputs.
type Plan map[string][]string

// Plan takes in what is going to be built. Without it there is no tree, and what is to
// come is only known as a number.
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
		b.unready = 0
		for _, in := range b.inputs {
			if in.state != built {
				b.unready++
			}
		}
	}
	s.plant()
	for _, b := range s.planned {
		if b.state == failed {
			s.block(b)
		}
	}
}

// planBuild returns the build of a derivation that is in the plan.
func (s *State) planBuild(drv string) *build {
	b := s.builds[drv]
	if b == nil {
		b = &build{drv: drv, name: nameOf(drv)}
		s.builds[drv] = b // as many as the command could hold
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

func byName(a, b *build) int {
	if a == b || a == nil || b == nil {
		return 0
	}
	if a.name != b.name {
		if a.name < b.name {
			return -1
		}
		return 1
	}
	if a.drv < b.drv {
		return -1
	}
	return 1
}

// plant makes a tree of the plan: each build stands under that dependent which is farthest
// from the root, so that what has to wait longest for others is on top of most. A daemon that
// lies may name a circle; the builds in it stand nowhere.
func (s *State) plant() {
	missing := make(map[*build]int) // dependents that have no place yet
	var ready []*build
	for _, b := range s.planned {
		b.up, b.depth = nil, 0
		if missing[b] = len(b.dependents); missing[b] == 0 {
			ready = append(ready, b)
		}
	}
	for len(ready) > 0 {
		b := ready[0]
		ready = ready[1:]
		for _, in := range b.inputs {
			if in.up == nil || in.depth <= b.depth {
				in.up, in.depth = b, b.depth+1
			}
			if missing[in]--; missing[in] == 0 {
				ready = append(ready, in)
			}
		}
	}
	for b, n := range missing {
		if n > 0 {
			b.up = nil
		}
	}
}
