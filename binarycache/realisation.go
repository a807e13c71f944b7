package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"pix/store"
	"pix/storepath"
)

// Nix up to 2.34 has realisations in realisations/, by the hash of the derivation, and Nix from 2.35 on in
// build-trace-v2/, by the path of the resolved derivation. Each ignores the other directory.

// realisationFile returns the file of a realisation for Nix up to 2.34.
func realisationFile(id store.DrvOutput) string {
	return "realisations/" + id.HashID() + ".doi"
}

// traceFile returns the file of a realisation for Nix from 2.35 on.
func traceFile(id store.DrvOutput) string {
	return "build-trace-v2/" + id.Path.Base() + "/" + id.Output + ".doi"
}

// checkDrvOutput checks that an output can be used in a file name, which must not lead out of the cache.
func (s *Store) checkDrvOutput(id store.DrvOutput) error {
	if id.Hash.IsZero() && id.Path == "" {
		return errors.New("a binary cache identifies realisations by the hash or the path of their derivation, and both are missing")
	}
	if id.Path != "" {
		if _, err := s.Dir().Parse(string(id.Path)); err != nil {
			return err
		}
	}
	return storepath.CheckName(id.Output)
}

// QueryRealisation returns the path of an output, and its signatures. The error is [store.ErrNotFound] if the
// cache has no realisation.
//
// Realisations of Nix up to 2.34 are found by the hash of the derivation, and realisations of later versions by the
// path of the resolved derivation. If both are given, the hash is tried first.
func (s *Store) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	if err := s.checkDrvOutput(output); err != nil {
		return nil, err
	}
	if !output.Hash.IsZero() {
		r, err := s.readRealisation(ctx, realisationFile(output), output, s.parseRealisation)
		if output.Path == "" || !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
	}
	return s.readRealisation(ctx, traceFile(output), output, func(text string, _ store.DrvOutput) (store.Realisation, error) {
		return store.ParseValueJSON(s.Dir(), text)
	})
}

// readRealisation reads a realisation from a file.
func (s *Store) readRealisation(ctx context.Context, name string, id store.DrvOutput, parse func(string, store.DrvOutput) (store.Realisation, error)) (*store.Realisation, error) {
	var r store.Realisation
	err := s.readParsed(ctx, name, maxSmall, func(text []byte, _ bool) (err error) {
		r, err = parse(string(text), id)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("output '%s' has no known path: %w", id.ID(), store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// parseRealisation parses the form of Nix up to 2.34, which contains the hash and the name of the output.
func (s *Store) parseRealisation(text string, id store.DrvOutput) (store.Realisation, error) {
	r, err := store.ParseRealisationJSON(s.Dir(), text)
	if err == nil && (r.ID.Hash != id.Hash || r.ID.Output != id.Output) {
		err = fmt.Errorf("it describes another output, '%s'", r.ID.HashID())
	}
	return r.Realisation, err
}

// RegisterDrvOutput writes a realisation: for Nix up to 2.34 if the hash of the derivation is given, and for
// Nix from 2.35 on if its path is given. The path must belong to a resolved derivation, which the cache does
// not check. As in Nix, an existing realisation is replaced.
func (s *Store) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.checkDrvOutput(r.ID); err != nil {
		return err
	}
	if !r.ID.Hash.IsZero() {
		text, err := r.JSON(s.Dir())
		if err == nil {
			err = s.files.write(ctx, realisationFile(r.ID), bytes.NewReader(text))
		}
		if err != nil {
			return err
		}
	}
	if r.ID.Path == "" {
		return nil
	}
	text, err := r.ValueJSON(s.Dir())
	if err != nil {
		return err
	}
	return s.files.write(ctx, traceFile(r.ID), bytes.NewReader(text))
}
