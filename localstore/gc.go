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

// CollectGarbage says what is live or dead, or deletes what is dead, as Nix 2.34 does.
//
// Live is what roots need ([Store.FindRoots]), and temporary roots, valid or not: what they refer
// to, the derivations that made it unless [Options.DropDerivers] is set, and the outputs of
// derivations if [Options.KeepOutputs] is set. Everything else in the store directory is dead,
// also what is not valid: the remains of attempts, and files that nobody knows. Of these, a
// [store.GCReturnDead] lists what has no name of a store path too, where Nix deletes it.
//
// While it runs nobody else collects, and what others add becomes a root through the socket
// that Nix has for it. A path that is deleted is invalid first, and so are those that refer to it;
// a process that is killed leaves a valid store.
//
// An object that cannot be deleted, because something is mounted on it, for instance, does not keep others
// from being deleted. The error is an [*IncompleteError] then. Whenever something was deleted before an
// error, the result says what, also if the error is not nil.
func (s *Store) CollectGarbage(ctx context.Context, opts store.GCOptions) (result *store.GCResult, err error) {
	if opts.Action > store.GCDeleteSpecific {
		return nil, fmt.Errorf("there is no action %s", opts.Action)
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
		// On a full disk the database needs the room.
		if err := s.giveUpReserved(); err != nil {
			return nil, err
		}
		defer s.reserveSpace()
	}
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	if err := s.temp.Tidy(); err != nil {
		return nil, err
	}
	if c.tempRoots, err = temproots.NewCollector(ctx, s.rootsState(), reporter(ctx)); err != nil {
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

	roots []store.Root // of all kinds, as they were at the beginning
	graph *graph
	needs edges           // the graph's references, from what is referred to
	keeps edges           // likewise for what settings keep
	temp  map[string]bool // hash parts of temporary roots
	marks []mark          // what is live
	fates []fate          // what becomes of what is dead

	failures failureLog // what could not be deleted
}

// A fate says what became of a path so far.
type fate uint8

const (
	unplanned fate = iota
	planned        // it is to be deleted
	deleted
)

// deletes reports whether anything is to be deleted.
func (c *collection) deletes() bool {
	return c.opts.Action == store.GCDeleteDead || c.opts.Action == store.GCDeleteSpecific
}

// runAndClose runs the collection, and then lets others make roots and collect, also after a panic.
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
		say(ctx, "determining live/dead paths...")
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
		for _, v := range plan.victims {
			c.result.Paths = append(c.result.Paths, c.name(v))
		}
		return nil
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
	say(ctx, "deleting unused links...")
	saved, opened, err := objects.DeleteUnusedLinks(ctx, c.storeDir, func(err error) { c.failures.add(ctx, err) })
	if err != nil {
		return err
	}
	if opened {
		say(ctx, "note: hard linking is currently saving %s", sizes.Spell(saved))
	}
	return c.incomplete()
}

// incomplete returns an [*IncompleteError] if something could not be deleted.
func (c *collection) incomplete() error {
	done := fmt.Sprintf("%d store paths deleted, %s freed", len(c.result.Paths), sizes.Spell(int64(c.result.BytesFreed)))
	return c.failures.result("deleted", done)
}

// An AliveError says that a path cannot be deleted because it is needed, or because a path that
// refers to it is not to be deleted.
type AliveError struct {
	Path storepath.Path
	Root store.Root // one that needs the path; its Link is "" if there is none
}

func (e *AliveError) Error() string {
	return fmt.Sprintf("Cannot delete path '%s' since it is still alive. "+
		"To find out why, use: nix-store --query --roots and nix-store --query --referrers", e.Path)
}

// rootOf returns a root that needs a path, or the zero Root if there is none.
func (c *collection) rootOf(path storepath.Path) store.Root {
	i, valid := c.graph.find(path)
	if !valid || c.marks[i] == notMarked {
		return store.Root{}
	}
	for c.marks[i] != byRoot {
		i = int32(c.marks[i])
	}
	_, byPlace := c.graph.placeRoots(c.roots)
	return byPlace[i]
}

// findLive finds the roots, and marks what they need.
//
// The order matters. Temporary roots that come later come through the socket. A process that
// ended before they were read has made the lasting roots that it wanted to, and registered the
// paths: both are read after that. (Nix reads the lasting roots first, and misses those of a process
// that makes one and ends between the two.)
func (c *collection) findLive(ctx context.Context) error {
	say(ctx, "finding garbage collector roots...")
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

	// What is given is to be deleted, and not its deriver or outputs as well.
	keep := !(c.opts.Action == store.GCDeleteSpecific && c.opts.IgnoreLiveness)
	c.graph, err = c.loadGraph(ctx, c.Store.opts.KeepOutputs && keep, !c.Store.opts.DropDerivers && keep)
	if err != nil {
		return err
	}
	c.needs, c.keeps = c.graph.refs.reversed(), c.graph.keep.reversed()
	c.marks = c.graph.newMarks()
	c.fates = make([]fate, len(c.graph.paths))
	var places []int32
	for _, r := range roots {
		if i, ok := c.graph.find(r.Path); ok {
			places = append(places, i)
		}
	}
	for hashPart := range c.temp {
		places = append(places, c.graph.withHash(hashPart)...)
	}
	c.graph.markFrom(c.marks, places...)
	return nil
}
