package cacheserver

import (
	"context"
	"net/http"
	"slices"

	"pix/signature"
	"pix/store"
)

// serveRealisation answers a request for the path of an output of a derivation, in one of the two forms: by the hash of the
// derivation, for Nix up to 2.34, or by its path.
func (h *Handler) serveRealisation(w http.ResponseWriter, r *http.Request, n name) error {
	id := n.output
	if n.kind == kindTrace {
		drv, err := h.dir.ParseBase(n.drv)
		if err != nil || !drv.IsDerivation() {
			return errNotFound
		}
		id.Path = drv
	}
	found, err := h.realisation(r.Context(), id)
	if err != nil {
		return err
	}
	var text []byte
	if n.kind == kindTrace {
		text, err = found.ValueJSON(h.dir)
	} else {
		text, err = found.JSON(h.dir)
	}
	if err != nil {
		return err
	}
	return h.serveContent(w, r, h.newContent("application/json", text))
}

// realisation returns the path of an output. A store keeps the realisations of outputs that were deleted. These are absent, because
// a client would ask for the output.
func (h *Handler) realisation(ctx context.Context, id store.DrvOutput) (found *store.KeyedRealisation, err error) {
	err = h.firstStore(errNotFound, func(s store.Store) error {
		r, err := store.QueryRealisation(ctx, s, id)
		if err != nil {
			return err
		}
		info, err := s.QueryPathInfo(ctx, r.OutPath)
		if err != nil {
			return err
		}
		found = &store.KeyedRealisation{ID: id, Realisation: *r}
		return h.signRealisation(found, info)
	})
	return found, err
}

// signRealisation adds the signatures of the server's keys if a store built the output itself, or if one of the trusted keys has
// signed the realisation. A content address says nothing about the derivation, so it is no reason.
func (h *Handler) signRealisation(r *store.KeyedRealisation, output *store.PathInfo) error {
	if len(h.opts.Keys) == 0 {
		return nil
	}
	fingerprint, err := realisationFingerprint(r)
	if err != nil {
		return err
	}
	if !output.Ultimate && !isSigned(fingerprint, r.Signatures, h.opts.TrustedKeys) {
		return nil
	}
	r.Signatures = slices.Concat(r.Signatures, h.signer.sign(fingerprint))
	return nil
}

// isSigned reports whether one of the keys has made one of the signatures.
func isSigned(fingerprint []byte, signatures []string, keys signature.KeySet) bool {
	for _, text := range signatures {
		if s, err := signature.Parse(text); err == nil {
			if good, _ := keys.Verify(fingerprint, s); len(good) > 0 {
				return true
			}
		}
	}
	return false
}
