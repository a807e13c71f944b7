package view

import (
	"context"
	"net/http"

	"pix/explain"
	"pix/store"
	"pix/storepath"
)

// explain answers with the computation of a path, or of its signatures if the parameter about says so, in the form of
// 'pix explain --json'.
func (h *Handler) explain(r *http.Request, paths []storepath.Path) (any, error) {
	explainer := h.explainPath
	switch r.URL.Query().Get("about") {
	case "", "path":
	case "signatures":
		explainer = h.explainSignatures
	default:
		return nil, &statusError{http.StatusBadRequest, "the parameter about is neither path nor signatures"}
	}
	return explainer(r.Context(), paths[0])
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
		d, err := store.ReadDerivation(ctx, h.store, path)
		if err != nil {
			return nil, err
		}
		return explain.Derivation(ctx, explain.Drv{Path: path, Derivation: d, Inputs: store.Derivations(h.store)}, &explain.DerivationOptions{Store: h.store})
	}
	info, err := h.store.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	if !info.CA.IsZero() {
		return explain.PathIn(ctx, h.store, info)
	}
	return h.explainOutput(ctx, path)
}

// explainOutput explains an output by its derivation.
func (h *Handler) explainOutput(ctx context.Context, path storepath.Path) (*explain.Explanation, error) {
	drv, err := h.derivationOf(ctx, path)
	if err != nil {
		return nil, err
	}
	d, err := store.ReadDerivation(ctx, h.store, drv)
	if err != nil {
		return nil, err
	}
	explained := explain.Drv{Path: drv, Derivation: d, Inputs: store.Derivations(h.store)}
	return explain.Output(ctx, path, explained, &explain.DerivationOptions{Store: h.store})
}
