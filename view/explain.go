package view

import (
	"context"
	"errors"
	"net/http"

	"pix/derivation"
	"pix/explain"
	"pix/store"
	"pix/storepath"
)

// serveExplain answers with the computation of a path, or of its signatures if the parameter about says so, in the form of
// 'pix explain --json'.
func (h *Handler) serveExplain(w http.ResponseWriter, r *http.Request) error {
	path, err := h.pathParameter(r, "path")
	if err != nil {
		return err
	}
	explainer := h.explainPath
	switch r.URL.Query().Get("about") {
	case "", "path":
	case "signatures":
		explainer = h.explainSignatures
	default:
		return &statusError{http.StatusBadRequest, "the parameter about is neither path nor signatures"}
	}
	end, err := h.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	e, err := explainer(r.Context(), path)
	if err != nil {
		return err
	}
	return writeJSON(w, r, e)
}

// explainSignatures explains the signatures of a path.
func (h *Handler) explainSignatures(ctx context.Context, path storepath.Path) (*explain.Explanation, error) {
	info, err := h.store.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	return explain.Signature(info, h.trusted)
}

// explainPath explains a derivation, the contents of a content-addressed path, and the derivation of any other path.
func (h *Handler) explainPath(ctx context.Context, path storepath.Path) (*explain.Explanation, error) {
	if path.IsDerivation() {
		return h.explainDerivation(ctx, path, "")
	}
	info, err := h.store.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	if !info.CA.IsZero() {
		return h.explainContents(ctx, info)
	}
	drv, err := h.derivationOf(ctx, path)
	if err != nil {
		return nil, err
	}
	return h.explainDerivation(ctx, drv, path)
}

// explainContents explains a content-addressed path, from its contents if they are small.
func (h *Handler) explainContents(ctx context.Context, info *store.PathInfo) (*explain.Explanation, error) {
	if info.NARSize > explain.MaxContents {
		return explain.Path(info, nil)
	}
	archive, err := store.ReadNAR(ctx, h.store, info.Path)
	if errors.Is(err, errors.ErrUnsupported) {
		return explain.Path(info, nil)
	}
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return explain.Path(info, archive)
}

// explainDerivation explains the output of a derivation with a path, or all outputs if none has it.
func (h *Handler) explainDerivation(ctx context.Context, drv, output storepath.Path) (*explain.Explanation, error) {
	d, err := store.ReadDerivation(ctx, h.store, drv)
	if err != nil {
		return nil, err
	}
	o := &explain.DerivationOptions{Store: h.store}
	if output != "" {
		if o.Outputs, err = h.outputsAt(ctx, drv, d, output); err != nil {
			return nil, err
		}
	}
	return explain.Derivation(ctx, drv, d, store.Derivations(h.store), o)
}

// outputsAt returns the output of a derivation that has a path, which may be known only to the store.
func (h *Handler) outputsAt(ctx context.Context, drv storepath.Path, d *derivation.Derivation, path storepath.Path) ([]string, error) {
	for name, o := range d.Outputs.All() {
		if o.Path() == path {
			return []string{name}, nil
		}
	}
	known, err := store.OutputMap(ctx, h.store, drv)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	for name, p := range known {
		if p == path {
			return []string{name}, nil
		}
	}
	return nil, nil
}
