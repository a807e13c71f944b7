package localstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/internal/sizes"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var (
	_ store.Collector         = (*Store)(nil)
	_ store.LivenessExplainer = (*Store)(nil)
)

// CollectGarbage returns the live or the dead paths, or deletes dead paths, as Nix 2.34 does.
//
// A path is live if it is a root ([Store.FindRoots]), a temporary root, or needed by a live path. A live path needs the
// paths that it refers to, its deriver unless [Options.DropDerivers] is set, and, if it is a derivation and
// [Options.KeepOutputs] is set, its outputs. Everything else in the store directory is dead, including partial objects
// and files without the name of a store path. [store.GCReturnDead] lists these files too, where Nix deletes them.
//
// Only one process collects garbage at a time. A path that another process adds meanwhile becomes a root through the
// socket of the garbage collector. CollectGarbage makes a path, and all paths that refer to it, invalid before it
// deletes the object. So a process that is killed leaves a consistent store.
//
// If an object cannot be deleted, because something is mounted on it, for example, CollectGarbage continues with the
// others and returns an [*IncompleteError]. If it has deleted paths before an error, it returns the result and the
// error.
func (s *Store) CollectGarbage(ctx context.Context, opts store.GCOptions) (result *store.GCResult, err error) {
	if opts.Action > store.GCDeleteSpecific {
		return nil, fmt.Errorf("invalid action %s", opts.Action)
	}
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	for _, p := range opts.Paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return nil, err
		}
	}
	c := &collection{Store: s, opts: opts, result: new(store.GCResult)}
	if c.deletes() {
		if err := s.checkWritable(); err != nil {
			return nil, err
		}
		// On a full disk the database needs space.
		if err := s.freeReserved(); err != nil {
			return nil, err
		}
		defer s.reserveSpace()
	}
	if err := s.createDirs(); err != nil {
		return nil, err
	}
	if err := s.temp.Tidy(); err != nil {
		return nil, err
	}
	if c.tempRoots, err = temproots.NewCollector(ctx, s.rootsState(), logLine(ctx)); err != nil {
		return nil, err
	}
	err = c.runAndClose(ctx)
	if err != nil && len(c.result.Paths) == 0 && !errors.As(err, new(*IncompleteError)) || err != nil && !c.deletes() {
		return nil, err
	}
	slices.Sort(c.result.Paths)
	return c.result, err
}

// A collection is one call of CollectGarbage, which holds gc.lock.
type collection struct {
	*Store
	opts      store.GCOptions
	tempRoots *temproots.Collector
	result    *store.GCResult

	roots  []store.Root // of all kinds, as they were at the start
	graph  *graph
	needs  edges           // graph.refs reversed: from each path to its referrers
	keeps  edges           // graph.keep reversed
	temp   map[string]bool // hash parts of temporary roots
	marks  []mark          // for each path: whether it is live
	states []deleteState   // for each path: the state of its deletion

	failures failureLog // paths that could not be deleted
}

// A deleteState says whether the deletion of a path was planned or done.
type deleteState uint8

const (
	notPlanned deleteState = iota
	planned                // to be deleted
	deleted
)

// deletes reports whether the collection deletes paths.
func (c *collection) deletes() bool {
	return c.opts.Action == store.GCDeleteDead || c.opts.Action == store.GCDeleteSpecific
}

// runAndClose runs the collection. It then allows other processes to add roots and to collect, even after a panic.
func (c *collection) runAndClose(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, c.tempRoots.Close(ctx)) }()
	return c.run(ctx)
}

func (c *collection) run(ctx context.Context) error {
	if err := c.findLive(ctx); err != nil {
		return err
	}
	if c.opts.MaxFreed == 0 && c.opts.Action != store.GCDeleteSpecific {
		return c.cleanUp(ctx)
	}
	if !c.deletes() {
		logf(ctx, "determining live/dead paths...")
	}
	plan, err := c.plan(ctx)
	if err != nil {
		return err
	}
	switch c.opts.Action {
	case store.GCReturnLive:
		c.result.Paths = plan.live
		return nil
	case store.GCReturnDead:
		c.result.Paths = c.dead(plan)
		c.result.ArchiveBytes, err = c.deadArchives(ctx, plan)
		return err
	}
	if err := c.delete(ctx, plan.victims); err != nil {
		return err
	}
	if plan.alive != "" {
		return errors.Join(&AliveError{plan.alive, c.rootOf(plan.alive)}, c.incomplete())
	}
	return c.cleanUp(ctx)
}

// cleanUp deletes the files in .links that no object contains any more. It returns an [*IncompleteError] if the
// collection could not delete everything.
func (c *collection) cleanUp(ctx context.Context) error {
	if !c.deletes() {
		return nil
	}
	logf(ctx, "deleting unused links...")
	saved, opened, err := objects.DeleteUnusedLinks(ctx, c.storeDir, func(err error) { c.failures.add(ctx, err) })
	if err != nil {
		return err
	}
	if opened {
		logf(ctx, "note: hard linking is currently saving %s", sizes.Spell(saved))
	}
	return c.incomplete()
}

// incomplete returns an [*IncompleteError] if something could not be deleted.
func (c *collection) incomplete() error {
	done := fmt.Sprintf("%d store paths deleted, %s freed", len(c.result.Paths), sizes.Spell(int64(c.result.BytesFreed)))
	return c.failures.result("deleted", done)
}

// An AliveError reports that a path cannot be deleted because it is live, or because a path that refers to it is not to
// be deleted.
type AliveError struct {
	Path storepath.Path
	Root store.Root // a root that needs the path; its Link is "" if the path is not live
}

func (e *AliveError) Error() string {
	return fmt.Sprintf("Cannot delete path '%s' since it is still alive. "+
		"To find out why, use: nix-store --query --roots and nix-store --query --referrers", e.Path)
}

// rootOf returns a root that needs a path, or the zero Root if the path is not live.
func (c *collection) rootOf(path storepath.Path) store.Root {
	i, valid := c.graph.find(path)
	if !valid || c.marks[i] == notMarked {
		return store.Root{}
	}
	for c.marks[i] != byRoot {
		i = int32(c.marks[i])
	}
	_, byNode := c.graph.rootNodes(c.roots)
	return byNode[i]
}

// findLive finds the roots, and marks the paths that they need.
//
// The order matters. findLive reads the temporary roots first; later ones arrive through the socket. A process that
// ended before has already added its permanent roots and registered its paths, and findLive reads both afterwards. Nix
// reads the permanent roots first, so it misses the root of a process that adds one and ends between the two steps.
func (c *collection) findLive(ctx context.Context) error {
	logf(ctx, "finding garbage collector roots...")
	temporary, err := c.tempRoots.Roots(ctx)
	if err != nil {
		return err
	}
	var roots []store.Root
	if !c.opts.IgnoreLiveness {
		search := &rootSearch{layout: c.layout, tidy: true, strict: true}
		if roots, err = search.roots(ctx); err != nil {
			return err
		}
	}
	c.roots = slices.Concat(roots, temporary)
	c.temp = make(map[string]bool)
	for _, r := range temporary {
		c.temp[r.Path.HashPart()] = true
	}

	// With IgnoreLiveness, delete the given paths only, and not their derivers and outputs.
	keep := !(c.opts.Action == store.GCDeleteSpecific && c.opts.IgnoreLiveness)
	c.graph, err = c.loadGraph(ctx, c.Store.opts.KeepOutputs && keep, !c.Store.opts.DropDerivers && keep)
	if err != nil {
		return err
	}
	c.needs, c.keeps = c.graph.refs.reversed(), c.graph.keep.reversed()
	c.marks = c.graph.newMarks()
	c.states = make([]deleteState, len(c.graph.paths))
	var nodes []int32
	for _, r := range roots {
		if i, ok := c.graph.find(r.Path); ok {
			nodes = append(nodes, i)
		}
	}
	for hashPart := range c.temp {
		nodes = append(nodes, c.graph.withHash(hashPart)...)
	}
	c.graph.markFrom(c.marks, nodes...)
	return nil
}
