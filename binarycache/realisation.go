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

// realisationFile returns where the realisation of an output is.
func realisationFile(id store.DrvOutput) (string, error) {
	if id.Hash.IsZero() {
		return "", errors.New("a binary cache knows realisations by the hash of their derivation, which is missing")
	}
	if err := storepath.CheckName(id.Output); err != nil {
		return "", err
	}
	return "realisations/" + id.HashID() + ".doi", nil
}

// QueryRealisation returns the path that an output has got, and who has signed that. The
// error is [store.ErrNotFound] if the cache does not know. The hash of the derivation must
// be given: only Nix from 2.35 on keeps realisations by its path, elsewhere.
func (s *Store) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	name, err := realisationFile(output)
	if err != nil {
		return nil, err
	}
	var r store.KeyedRealisation
	err = s.readParsed(ctx, name, maxSmall, func(text []byte, _ bool) (err error) {
		r, err = store.ParseRealisationJSON(s.Dir(), string(text))
		if err == nil && (r.ID.Hash != output.Hash || r.ID.Output != output.Output) {
			err = fmt.Errorf("it is of another output, '%s'", r.ID.HashID())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("output '%s' has no known path: %w", output.HashID(), store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &r.Realisation, nil
}

// RegisterDrvOutput notes which path an output has got. What was noted before is replaced,
// as in Nix.
func (s *Store) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	name, err := realisationFile(r.ID)
	if err != nil {
		return err
	}
	text, err := r.JSON(s.Dir())
	if err != nil {
		return err
	}
	return s.local.write(name, bytes.NewReader(text))
}
