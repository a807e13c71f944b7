package localstore

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/internal/modes"
	"pix/internal/sizes"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var _ store.Optimiser = (*Store)(nil)

// rootedAtOnce is how many paths are kept from being collected while they are optimised.
const rootedAtOnce = 1000

// OptimiseStore replaces identical files in the store with hard links. Each has one more name in
// .links, the hash of its archive, by which it is found. OptimiseStore reports an activity of the
// type [activity.OptimiseStore], its progress in paths, and an [activity.FileLinked] for each file.
//
// A file that cannot be linked, because it cannot be read, for instance, stays as it is. The error is an
// [*IncompleteError] then.
func (s *Store) OptimiseStore(ctx context.Context) (err error) {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	// On a full disk the database and the temporary roots need the room.
	if err := s.giveUpReserved(); err != nil {
		return err
	}
	defer s.reserveSpace()
	if err := s.makeDirs(); err != nil {
		return err
	}
	paths, err := s.QueryAllValidPaths(ctx)
	if err != nil {
		return err
	}
	o := &optimiser{Store: s, task: begin(ctx, activity.LevelError, activity.OptimiseStore, "")}
	defer o.task.stop()
	o.linker = s.newLinker(ctx, &o.failures)
	o.linker.Replaced = o.countReplaced
	if err := o.linker.Load(ctx); err != nil {
		return err
	}
	o.task.progress(0, len(paths))
	for done := 0; done < len(paths); {
		some := paths[done:min(done+rootedAtOnce, len(paths))]
		if err := o.optimise(ctx, some, done, len(paths)); err != nil {
			return err
		}
		done += len(some)
	}
	summary := fmt.Sprintf("%s freed by hard-linking %d files", sizes.Spell(o.freed), o.files)
	say(ctx, "%s", summary)
	return o.failures.result("linked", summary)
}

// An optimiser is one call of OptimiseStore.
type optimiser struct {
	*Store
	linker   *objects.Linker
	task     task
	failures failureLog // files that could not be linked
	files    int        // that were replaced
	freed    int64      // their sizes in bytes
}

func (o *optimiser) countReplaced(size, blocks int64) {
	o.files++
	o.freed += size
	o.task.result(activity.FileLinked, uint64(size), uint64(blocks))
}

// newLinker returns a linker that reports to the handler of ctx, and adds files that cannot be linked to failures.
func (s *Store) newLinker(ctx context.Context, failures *failureLog) *objects.Linker {
	return &objects.Linker{
		StoreDir: s.storeDir,
		Display:  s.named,
		Report:   reporter(ctx),
		Failed:   func(err error) { failures.add(ctx, err) },
	}
}

// optimise links the files of some valid paths. done is how many of all paths are done already.
func (o *optimiser) optimise(ctx context.Context, paths []storepath.Path, done, all int) (err error) {
	roots := temproots.Open(o.rootsState())
	defer func() { err = errors.Join(err, roots.Close()) }()
	if _, err := roots.Add(ctx, paths...); err != nil {
		return err
	}
	valid, err := o.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return err
	}
	for i, p := range valid {
		err := o.linker.Link(ctx, o.object(p))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			o.failures.add(ctx, err)
		}
		o.task.progress(done+i+1, all)
	}
	return nil
}

// linkNewObject links the files of an object that is being added, whose path this process has locked. With repair, it
// verifies each file in .links before it links to it. A file that cannot be linked does not prevent the object from
// being added, so it causes one warning.
func (s *Store) linkNewObject(ctx context.Context, path storepath.Path, repair bool) error {
	if err := modes.MkdirAll(s.links()); err != nil { // another process may have removed it
		return err
	}
	failures := &failureLog{silent: true}
	l := s.newLinker(ctx, failures)
	l.Repair = repair
	err := l.Link(ctx, s.object(path))
	if incomplete := failures.result("linked", "the object is added"); incomplete != nil {
		say(ctx, "warning: optimising '%s': %v", path, incomplete)
	}
	return err
}
