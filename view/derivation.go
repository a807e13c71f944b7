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

// serveDerivation answers with a derivation: the path itself, or the one that has built it.
func (h *Handler) serveDerivation(w http.ResponseWriter, r *http.Request) error {
	path, err := h.pathParameter(r, "path")
	if err != nil {
		return err
	}
	end, err := h.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	drv, err := h.derivationOf(r.Context(), path)
	if err != nil {
		return err
	}
	d, err := store.ReadDerivation(r.Context(), h.store, drv)
	if err != nil {
		return err
	}
	return writeJSON(w, r, derivationJSON{drv, d.AppendShow(nil, "")})
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
