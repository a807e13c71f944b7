package closure

import "context"

// steps ends a long computation when its context is done. It looks at the context once in a number of steps, because a
// step takes a few nanoseconds.
type steps struct {
	ctx   context.Context
	every int
	taken int
}

// next counts a step. The error is the cause of the context.
func (s *steps) next() error {
	if s.taken++; s.taken%s.every == 0 && s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}
