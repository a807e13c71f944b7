package derivation

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"pix/internal/parallel"
	"pix/storepath"
)

// A comparison is a difference with its two derivations.
type comparison struct {
	*Difference
	a, b *Derivation
}

// A closureDiffer is one run of [DiffClosure].
type closureDiffer struct {
	sides [2]*diffSide
	known map[[2]storepath.Path]*InputDifference // the first occurrence of each pair
}

// compareInputs compares the inputs of a level, several at the same time. It returns the pairs that were not
// compared before, in the order of the level. The error is a [*LimitError], or the cause of ctx.
func (c *closureDiffer) compareInputs(ctx context.Context, level []comparison) ([]comparison, error) {
	var pairs []*InputDifference // the first occurrence of each pair
	for _, d := range level {
		for i := range d.Inputs {
			if in := &d.Inputs[i]; c.isFirst(in) {
				pairs = append(pairs, in)
			}
		}
	}
	next := make([]comparison, len(pairs))
	err := inParallel(ctx, len(pairs), func(ctx context.Context, from, to int) (err error) {
		loaders := c.loadPairs(ctx, pairs[from:to])
		for i := from; i < to; i++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if next[i], err = c.compare(ctx, pairs[i], loaders); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, d := range level {
		for i := range d.Inputs {
			in := &d.Inputs[i]
			if known := c.known[[2]storepath.Path{in.A, in.B}]; known != nil {
				in.Difference, in.Err = known.Difference, known.Err
			}
		}
	}
	var compared []comparison
	for i, in := range pairs {
		if in.Difference != nil {
			c.sides[0].keepOutputs(in.A, next[i].a)
			c.sides[1].keepOutputs(in.B, next[i].b)
			compared = append(compared, next[i])
		}
	}
	err = inParallel(ctx, len(level), func(_ context.Context, from, to int) error {
		for _, d := range level[from:to] {
			d.explain(d.a, d.b, func(side int, path storepath.Path) []Entry[string, string] { return c.sides[side].outputs[path] })
		}
		return nil
	})
	return compared, err
}

// isFirst reports whether an input is a pair that did not occur before.
func (c *closureDiffer) isFirst(in *InputDifference) bool {
	pair := [2]storepath.Path{in.A, in.B}
	if in.A == "" || in.B == "" || in.A == in.B || c.known[pair] != nil {
		return false
	}
	c.known[pair] = in
	return true
}

// inParallel calls do for ranges of the numbers below n, on one goroutine for each processor. A range has
// at least 16 numbers, and at most batchSize. The error is the first one, or the cause of ctx.
func inParallel(ctx context.Context, n int, do func(ctx context.Context, from, to int) error) error {
	procs := runtime.GOMAXPROCS(0)
	part := max(16, min(n/procs, batchSize))
	group, workCtx := parallel.WithContext(ctx, 0)
	var taken atomic.Int64
	for range min(procs, (n+part-1)/part) {
		group.Go(func() error {
			for {
				from := int(taken.Add(int64(part))) - part
				if from >= n {
					return nil
				}
				if workCtx.Err() != nil {
					return context.Cause(workCtx)
				}
				if err := do(workCtx, from, min(from+part, n)); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// loadPairs returns loaders for the derivations of pairs, one for each side, which have loaded a batch if they can.
func (c *closureDiffer) loadPairs(ctx context.Context, pairs []*InputDifference) (loaders [2]Loader) {
	var paths [2][]storepath.Path
	for _, in := range pairs {
		for side, path := range []storepath.Path{in.A, in.B} {
			if !c.sides[side].has(path) {
				paths[side] = append(paths[side], path)
			}
		}
	}
	for side, s := range c.sides {
		loaders[side] = loadAhead(ctx, s.loader, paths[side])
	}
	return loaders
}

// loader returns a loader for pairing inputs.
func (c *closureDiffer) loader(ctx context.Context) inputLoader {
	return func(side int, path storepath.Path) (*Derivation, error) {
		return c.sides[side].load(ctx, c.sides[side].loader, new(InputDifference), path)
	}
}

// compare loads the two derivations of a pair, and compares them. The comparison is empty if one of them cannot be
// loaded. The error is a [*LimitError].
func (c *closureDiffer) compare(ctx context.Context, in *InputDifference, loaders [2]Loader) (comparison, error) {
	var drvs [2]*Derivation
	for side, path := range []storepath.Path{in.A, in.B} {
		d, err := c.sides[side].load(ctx, loaders[side], in, path)
		if d == nil {
			return comparison{}, err
		}
		drvs[side] = d
	}
	d, err := diff(drvs[0], drvs[1], c.loader(ctx))
	if err != nil {
		return comparison{}, err
	}
	d.A, d.B = in.A, in.B
	in.Difference = d
	return comparison{d, drvs[0], drvs[1]}, nil
}

// A diffSide loads the derivations of one side.
type diffSide struct {
	loader  Loader
	loaded  *Closure                                   // or nil
	outputs map[storepath.Path][]Entry[string, string] // of each compared derivation, the texts that stand for its outputs

	mu    sync.Mutex
	meter *meter
}

func newDiffSide(l Loader, loaded *Closure, limits *Limits) *diffSide {
	return &diffSide{loader: l, loaded: loaded, outputs: map[storepath.Path][]Entry[string, string]{}, meter: newMeter(l, limits)}
}

// keepOutputs keeps the texts that stand for the outputs of a derivation.
func (s *diffSide) keepOutputs(path storepath.Path, d *Derivation) {
	texts := make([]Entry[string, string], 0, d.Outputs.Len())
	for name, o := range d.Outputs.All() {
		text := string(o.path)
		if text == "" {
			placeholder, _ := storepath.OutputPlaceholder(path, name) // only a path that is no derivation has none
			text = string(placeholder)
		}
		// A copy, because the text of the whole derivation would stay in memory.
		texts = append(texts, Entry[string, string]{strings.Clone(name), strings.Clone(text)})
	}
	s.outputs[path] = texts
}

// has reports whether a derivation is already in memory.
func (s *diffSide) has(path storepath.Path) bool {
	if s.loaded == nil {
		return false
	}
	_, ok := s.loaded.Get(path)
	return ok
}

// load returns a derivation of an input, or nil, after setting the error of the input. The error is a
// [*LimitError].
func (s *diffSide) load(ctx context.Context, l Loader, in *InputDifference, path storepath.Path) (*Derivation, error) {
	if s.has(path) {
		d, _ := s.loaded.Get(path)
		return d, nil
	}
	if err := s.count(func(m *meter) error { return m.found(path, path) }); err != nil {
		return nil, err
	}
	d, length, err := loadOne(ctx, l, path)
	if err != nil {
		in.Err = &LoadError{Path: path, Err: err}
		return nil, nil
	}
	if err := s.count(func(m *meter) error { return m.loaded(path, path, d, length) }); err != nil {
		return nil, err
	}
	return d, nil
}

// count updates the meter under a lock, because several goroutines load derivations.
func (s *diffSide) count(add func(*meter) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return add(s.meter)
}
