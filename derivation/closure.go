package derivation

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"

	"pix/storepath"
)

// A Closure is a set of derivations with all their inputs, direct and indirect. It does not change after
// it was loaded. Several goroutines may use it at the same time.
type Closure struct {
	members []*member // each after its inputs
	byPath  map[storepath.Path]*member
	graph   graph // over members
	modulo  *ModuloOptions
	sparse  bool // it does not contain the inputs of fixed outputs
	known   InputHashes
	workers int

	hashing sync.Mutex
	hashed  bool
}

type member struct {
	path       storepath.Path
	derivation *Derivation
	number     int32
	hash       ModuloHash // AsInput
}

// ClosureOptions are the options for loading and hashing a closure. A nil pointer is the zero value.
type ClosureOptions struct {
	// Concurrency is the number of derivations that are loaded at the same time; 0 means the number
	// of processors. A larger number is faster if the loader waits for a network.
	Concurrency int
	// Modulo are the rules for computing hashes.
	Modulo *ModuloOptions
	// ForHashes leaves out the inputs of fixed outputs. No hash and no output path depends on them.
	ForHashes bool
	// Known has hashes that were computed before. The closure does not contain derivations that it knows,
	// nor their inputs, and cannot check which outputs they have. It is for a program that hashes
	// derivations one after another. Nil knows none.
	Known InputHashes
	// Limits limit the closure. Nil means the limits of the loader if it is a [LimitedLoader], and
	// otherwise [ForeignLimits].
	Limits *Limits
}

// LoadClosure loads the derivations at roots and all their inputs, each once and several at the same
// time, with [ParseAt]. The result keeps their texts in memory.
//
// The error is a [*LoadError] for a derivation that is missing or cannot be parsed, a [*CycleError], a
// [*LimitError], or the cause of the cancellation of ctx. If the loader panics, LoadClosure panics on
// the goroutine of its caller.
func LoadClosure(ctx context.Context, l Loader, roots []storepath.Path, o *ClosureOptions) (*Closure, error) {
	if o == nil {
		o = &ClosureOptions{}
	}
	c := &Closure{byPath: map[storepath.Path]*member{}, modulo: o.Modulo, sparse: o.ForHashes, known: o.Known, workers: runtime.GOMAXPROCS(0)}
	roots = slices.DeleteFunc(slices.Clone(roots), c.isKnown)
	f := &closureLoader{closure: c, loader: l, meter: newMeter(l, o.Limits)}
	if err := f.load(ctx, roots, cmp.Or(max(o.Concurrency, 0), c.workers)); err != nil {
		return nil, err
	}
	return c, c.sort(roots)
}

// follow returns the inputs of d that belong to the closure.
func (c *Closure) follow(d *Derivation) iter.Seq[storepath.Path] {
	if kind, err := d.Kind(); c.sparse && err == nil && kind == Fixed {
		return func(func(storepath.Path) bool) {}
	}
	if c.known == nil {
		return d.InputDerivations.Keys()
	}
	return func(yield func(storepath.Path) bool) {
		for input := range d.InputDerivations.Keys() {
			if !c.isKnown(input) && !yield(input) {
				return
			}
		}
	}
}

// isKnown reports whether the options have the hash of a derivation.
func (c *Closure) isKnown(path storepath.Path) bool {
	if c.known == nil {
		return false
	}
	_, ok := c.known(path)
	return ok
}

// sort sorts the members so that each follows its inputs.
func (c *Closure) sort(roots []storepath.Path) error {
	all := slices.Sorted(maps.Keys(c.byPath))
	members := make([]*member, len(all))
	for i, path := range all {
		members[i] = c.byPath[path]
		members[i].number = int32(i)
	}
	numbers := make([]int32, len(roots))
	for i, root := range roots {
		numbers[i] = c.byPath[root].number
	}
	order, cycle := c.inputs(members).order(numbers)
	if cycle != nil {
		e := &CycleError{}
		for _, n := range cycle {
			e.Paths = append(e.Paths, members[n].path)
		}
		return e
	}
	for i, n := range order {
		c.members = append(c.members, members[n])
		members[n].number = int32(i)
	}
	c.graph = c.inputs(c.members)
	return nil
}

// inputs returns the graph of the members.
func (c *Closure) inputs(members []*member) graph {
	g := make(graph, len(members))
	for i, m := range members {
		g[i] = make([]int32, 0, m.derivation.InputDerivations.Len())
		for input := range c.follow(m.derivation) {
			g[i] = append(g[i], c.byPath[input].number)
		}
	}
	return g
}

// Len returns the number of derivations.
func (c *Closure) Len() int { return len(c.members) }

// All returns an iterator over the derivations and their paths, each after its inputs. The order depends
// only on the roots.
func (c *Closure) All() iter.Seq2[storepath.Path, *Derivation] {
	return func(yield func(storepath.Path, *Derivation) bool) {
		for _, m := range c.members {
			if !yield(m.path, m.derivation) {
				return
			}
		}
	}
}

// Get returns the derivation at path, and whether it is in the closure.
func (c *Closure) Get(path storepath.Path) (*Derivation, bool) {
	m, ok := c.byPath[path]
	if !ok {
		return nil, false
	}
	return m.derivation, true
}

// Hash computes the modulo hashes of all members, each once and several at the same time. The other
// methods call it when they need the hashes. Call it first to pass a context. The error is a
// [*LoadError] for the first member that cannot be hashed. It wraps an error of
// [Derivation.HashModulo].
func (c *Closure) Hash(ctx context.Context) error {
	c.hashing.Lock()
	defer c.hashing.Unlock()
	if c.hashed {
		return nil
	}
	err := c.graph.forEachInOrder(ctx, c.workers, func(n int32) error {
		m := c.members[n]
		if err := c.checkInputs(m.derivation); err != nil {
			return &LoadError{Path: m.path, Err: err}
		}
		hash, err := m.derivation.HashModulo(AsInput, c.inputHash, c.modulo)
		if err != nil {
			return &LoadError{Path: m.path, Err: err}
		}
		m.hash = hash
		return nil
	})
	c.hashed = err == nil
	return err
}

// checkInputs returns an error if d uses an output that its input does not have.
func (c *Closure) checkInputs(d *Derivation) error {
	if kind, err := d.Kind(); err != nil || kind == Fixed {
		return err // Nix ignores the inputs of a fixed output
	}
	for input, used := range d.InputDerivations.All() {
		if c.isKnown(input) {
			continue
		}
		if err := checkUsedOutputs(d.Name, input, used, c.byPath[input].derivation.Outputs.Has); err != nil {
			return err
		}
	}
	return nil
}

// checkUsedOutputs returns an [*InvalidError] if an input, which has the outputs of hasOutput, does not have all its used
// outputs.
func checkUsedOutputs(name string, input storepath.Path, used InputOutputs, hasOutput func(string) bool) error {
	for _, output := range used.Names.keys {
		if !hasOutput(output) {
			return &InvalidError{Name: name, Field: "input " + string(input), Reason: "it has no output " + output}
		}
	}
	return nil
}

func (c *Closure) inputHash(path storepath.Path) (ModuloHash, bool) {
	m, ok := c.byPath[path]
	if ok {
		return m.hash, !m.hash.Hash.IsZero()
	}
	if c.known == nil {
		return ModuloHash{}, false
	}
	return c.known(path)
}

// HashModulo returns the modulo hash of the member at path. If path is not in the closure, the error is a
// [*MissingInputError]. See [Derivation.HashModulo] and [Closure.Hash] for other errors.
func (c *Closure) HashModulo(path storepath.Path, mode HashMode) (ModuloHash, error) {
	m, err := c.member(path)
	if err != nil {
		return ModuloHash{}, err
	}
	if mode == AsInput {
		return m.hash, nil
	}
	return m.derivation.HashModulo(mode, c.inputHash, c.modulo)
}

// OutputPaths computes the output paths of the member at path. See [Derivation.OutputPaths] and
// [Closure.Hash].
func (c *Closure) OutputPaths(path storepath.Path) (Map[string, storepath.Path], error) {
	m, err := c.member(path)
	if err != nil {
		return Map[string, storepath.Path]{}, err
	}
	return m.derivation.OutputPaths(c.inputHash, c.modulo)
}

// InputHashes returns the hashes of the members, for hashing a derivation outside of the closure that has
// members as inputs. It returns the same errors as [Closure.Hash].
func (c *Closure) InputHashes(ctx context.Context) (InputHashes, error) {
	return c.inputHash, c.Hash(ctx)
}

func (c *Closure) member(path storepath.Path) (*member, error) {
	m, ok := c.byPath[path]
	if !ok {
		return nil, &MissingInputError{Input: path}
	}
	return m, c.Hash(context.Background())
}
