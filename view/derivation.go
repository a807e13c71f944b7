package view

import (
	"context"
	"encoding/json"
	"net/http"

	"pix/store"
	"pix/storepath"
)

// A derivationJSON is a derivation in the form of 'pix drv-show'.
type derivationJSON struct {
	Path       storepath.Path  `json:"path"`
	Derivation json.RawMessage `json:"derivation"`
}

// derivation answers with a derivation: the path itself, or the one that has built it.
func (h *Handler) derivation(r *http.Request, paths []storepath.Path) (any, error) {
	drv, err := h.derivationOf(r.Context(), paths[0])
	if err != nil {
		return nil, err
	}
	d, err := store.ReadDerivation(r.Context(), h.store, drv)
	if err != nil {
		return nil, err
	}
	return derivationJSON{drv, d.AppendShow(nil, "")}, nil
}

// derivationOf returns the derivation of a path, as the verbs about derivations choose it.
func (h *Handler) derivationOf(ctx context.Context, path storepath.Path) (storepath.Path, error) {
	if path.IsDerivation() {
		return path, nil
	}
	if drvs, err := store.ValidDerivers(ctx, h.store, path); err == nil && len(drvs) > 0 {
		return drvs[0], nil
	}
	info, err := h.store.QueryPathInfo(ctx, path)
	if err != nil {
		return "", err
	}
	if info.Deriver == "" {
		return "", &statusError{http.StatusNotFound, "the path has no known deriver: it was added to the store, or its origin is not recorded"}
	}
	return info.Deriver, nil
}
