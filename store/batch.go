package store

import (
	"context"
	"errors"
	"slices"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// A Batch collects texts and derivations, and adds them to a store in one stream. Their paths are
// known at once, so a derivation may refer to objects that were collected before it. A program that
// generates many derivations needs only the round trips of [Batch.Flush]:
//
//	batch := store.NewBatch(s)
//	for _, d := range generated {
//		if _, err := batch.AddDerivation(ctx, d); err != nil {
//			return err // the others can still be added
//		}
//	}
//	err := batch.Flush(ctx)
//
// All methods must be called by one goroutine at a time.
type Batch struct {
	s      Store
	texts  []batchText             // in the order of the calls, each once and after its references
	has    map[storepath.Path]bool // the paths of texts
	hashes ModuloHashes
}

// A batchText is a text to add.
type batchText struct {
	path       storepath.Path
	name       string
	contents   string
	hash       nixhash.Hash // the SHA-256 of the contents
	references []storepath.Path
}

// NewBatch returns an empty batch for s. To add derivations with input derivations in s, s must be a
// [NARReader].
func NewBatch(s Store) *Batch {
	return &Batch{s: s, has: make(map[storepath.Path]bool), hashes: make(ModuloHashes)}
}

// AddText collects a text and returns its path. See [AddText], which adds a text at once. The error is a
// [*storepath.Error].
func (b *Batch) AddText(name, contents string, references []storepath.Path) (storepath.Path, error) {
	t := batchText{name: name, contents: contents, hash: nixhash.Sum(nixhash.SHA256, []byte(contents)), references: slices.Clone(references)}
	var err error
	if t.path, err = b.s.Dir().TextPath(name, t.hash, references); err != nil {
		return "", err
	}
	b.add(t)
	return t.path, nil
}

// AddDerivation computes the paths of the outputs of d like the function [AddDerivation], collects d,
// and returns its path. The input derivations of d must be in the store or in the batch. The batch
// keeps no reference to d, so the program can change it and add it again. After an error, d is
// unchanged and not in the batch.
func (b *Batch) AddDerivation(ctx context.Context, d *derivation.Derivation) (storepath.Path, error) {
	inputs, err := b.hashes.InputsOf(ctx, b.s, d)
	if err != nil {
		return "", err
	}
	fresh, err := withOutputPaths(d, b.s.Dir(), inputs)
	if err != nil {
		return "", err
	}
	hash, err := fresh.HashModulo(derivation.AsInput, inputs, nil)
	if err != nil {
		return "", err
	}
	path, err := b.AddText(fresh.Name+storepath.DerivationExt, fresh.String(), fresh.References().Slice())
	if err != nil {
		return "", err
	}
	b.hashes[path] = hash
	*d = *fresh
	return path, nil
}

// add appends a text, unless the batch has it.
func (b *Batch) add(t batchText) {
	if b.has[t.path] {
		return
	}
	b.has[t.path] = true
	b.texts = append(b.texts, t)
}

// Len returns the number of collected objects.
func (b *Batch) Len() int { return len(b.texts) }

// Flush adds the collected objects to the store and empties the batch. Objects that are valid already
// are not sent. As with [AddText], a store that collects garbage protects all of them while it is
// open; see [InSession].
//
// If the store refuses some of them, the others are added, except those that refer to refused ones.
// Then the error is an [*AddError]. Other errors, such as a lost connection, end the call.
func (b *Batch) Flush(ctx context.Context) error {
	texts := b.texts
	b.texts, b.has = nil, make(map[storepath.Path]bool)
	return addTexts(ctx, b.s, texts)
}

// AddDerivations adds derivations to s in one stream, and returns their paths in the same order. It
// computes the paths of the outputs of each like [AddDerivation]. The inputs of a derivation must be in
// s or before it among ds, under the paths that they have with their computed outputs. A program that
// does not know these paths in advance uses a [Batch].
//
// If a derivation is invalid, or s refuses it, AddDerivations adds the others, except those that refer
// to it. Then the error is an [*AddError] with a [*DerivationError] for each of these, and the path of
// a derivation whose outputs could not be computed is "". A derivation is unchanged in this case only.
func AddDerivations(ctx context.Context, s Store, ds []*derivation.Derivation) ([]storepath.Path, error) {
	b := NewBatch(s)
	paths := make([]storepath.Path, len(ds))
	indices := make(map[storepath.Path]int, len(ds))
	var failed []*ObjectError
	for i, d := range ds {
		path, err := b.AddDerivation(ctx, d)
		if ctx.Err() != nil {
			return paths, context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, &ObjectError{Err: &DerivationError{i, d.Name, err}})
			continue
		}
		paths[i] = path
		if _, twice := indices[path]; !twice {
			indices[path] = i
		}
	}
	err := b.Flush(ctx)
	refused, ok := errors.AsType[*AddError](err)
	switch {
	case ok:
		err = refused.Err
		for _, f := range refused.Failed {
			if i, found := indices[f.Path]; found {
				f = &ObjectError{f.Path, &DerivationError{i, ds[i].Name, f.Err}}
			}
			failed = append(failed, f)
		}
	case len(failed) == 0:
		return paths, err
	}
	return paths, &AddError{failed, err}
}

// A DerivationError is the reason why one of many derivations was not added.
type DerivationError struct {
	Index int // of the derivation among those to add
	Name  string
	Err   error
}

func (e *DerivationError) Error() string { return "derivation '" + e.Name + "': " + e.Err.Error() }

// Unwrap returns the reason.
func (e *DerivationError) Unwrap() error { return e.Err }
