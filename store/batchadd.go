package store

import (
	"context"
	"errors"
	"iter"
	"slices"

	"pix/storepath"
)

// addTexts adds texts to s, each after its references.
func addTexts(ctx context.Context, s Store, texts []batchText) error {
	missing, err := missingTexts(ctx, s, texts, true)
	if err != nil || len(missing) == 0 {
		return err
	}
	_, oneStream := As[MultipleAdder](s)
	a := textAdder{s: s, oneStream: oneStream}
	for len(missing) > 0 {
		if missing, err = a.addSome(ctx, missing); err != nil {
			break
		}
	}
	return a.failures.Err(err)
}

// missingTexts returns the texts that are not valid in s. With protect, it makes the valid ones temporary
// roots. A collector may delete a path before it is a root, so these paths are queried again.
func missingTexts(ctx context.Context, s Store, texts []batchText, protect bool) ([]batchText, error) {
	paths := make([]storepath.Path, len(texts))
	for i := range texts {
		paths[i] = texts[i].path
	}
	valid, err := s.QueryValidPaths(ctx, paths, false)
	if protect && err == nil && len(valid) > 0 {
		if err = AddTempRoots(ctx, s, valid); err == nil {
			valid, err = s.QueryValidPaths(ctx, valid, false)
		}
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(valid)
	return slices.DeleteFunc(slices.Clone(texts), func(t batchText) bool {
		_, found := slices.BinarySearch(valid, t.path)
		return found
	}), nil
}

// A textAdder adds texts, and collects those that the store refuses.
type textAdder struct {
	s         Store
	oneStream bool // the store accepts many objects in one stream
	refused   int  // number of streams that a refused object has ended
	failures  Failures
}

// addSome adds texts, each after its references, and returns those that remain. An error ends the
// work.
//
// A daemon that refuses an object of a stream ends the stream and does not say which object it was. The
// objects before it are valid. So addSome adds the first one that is not valid alone, which gets
// its error, and the rest goes into the next stream. If the single object is accepted, the stream failed
// for another reason, and so would the next one: then all others are added one by one. The same happens
// after maxRefusedStreams, because each stream asks for the validity of all others: with many refused
// objects this would take time in the square of their number.
func (a *textAdder) addSome(ctx context.Context, texts []batchText) (rest []batchText, err error) {
	if a.oneStream {
		if texts, err = a.withoutDependents(texts); err != nil || len(texts) == 0 {
			return nil, err
		}
		err := AddMultiple(ctx, a.s, len(texts), importsOf(texts), nil)
		refused, ok := errors.AsType[*AddError](err)
		switch {
		case err == nil:
			return nil, nil
		case ok:
			return nil, a.addFailures(refused)
		case ctx.Err() != nil:
			return nil, err
		}
		left, queryErr := missingTexts(ctx, a.s, texts, false)
		if queryErr != nil {
			return nil, err
		}
		if len(left) < len(texts) {
			a.failures.Succeed()
		}
		if texts = left; len(texts) == 0 {
			return nil, nil
		}
		a.refused++
		a.oneStream = a.refused < maxRefusedStreams
	}
	accepted, err := a.addOne(ctx, &texts[0])
	if accepted {
		a.oneStream = false
	}
	return texts[1:], err
}

// maxRefusedStreams is the number of streams that end at a refused object.
const maxRefusedStreams = 16

// withoutDependents records the failure of each text that refers to a refused one, and returns the others.
func (a *textAdder) withoutDependents(texts []batchText) (rest []batchText, err error) {
	for i := range texts {
		t := &texts[i]
		missing := a.failures.CheckReferences(&PathInfo{Path: t.path, References: t.references})
		if missing == nil {
			rest = append(rest, *t)
		} else if err := a.failures.Fail(t.path, missing); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// addOne adds one text, and reports whether the store has accepted it.
func (a *textAdder) addOne(ctx context.Context, t *batchText) (accepted bool, err error) {
	if err := a.failures.CheckReferences(&PathInfo{Path: t.path, References: t.references}); err != nil {
		return false, a.failures.Fail(t.path, err)
	}
	if _, err := AddText(ctx, a.s, t.name, t.contents, t.references); err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		if _, lost := a.s.IsValidPath(ctx, t.path); lost != nil {
			return false, err // the store does not answer at all
		}
		return false, a.failures.Fail(t.path, err)
	}
	a.failures.Succeed()
	return true, nil
}

// addFailures records the failures of a store that has added all other objects of a stream.
func (a *textAdder) addFailures(refused *AddError) error {
	for _, f := range refused.Failed {
		a.failures.Fail(f.Path, f.Err) // the store counts consecutive failures itself
	}
	return refused.Err
}

// importsOf returns the objects of texts. Their archives are made one by one.
func importsOf(texts []batchText) iter.Seq2[Import, error] {
	return func(yield func(Import, error) bool) {
		for i := range texts {
			t := &texts[i]
			object, err := importTextAt(t.path, t.hash, t.contents, t.references)
			if !yield(object, err) || err != nil {
				return
			}
		}
	}
}
