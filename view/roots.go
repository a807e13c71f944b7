package view

import (
	"net/http"

	"pix/store"
	"pix/storepath"
)

// A livenessJSON says what keeps a path from being collected, in the forms of 'pix gc --explain' and 'pix roots'.
type livenessJSON struct {
	// Root is null if no root that the store shows needs the path.
	Root  *string            `json:"root"`
	Chain []livenessStepJSON `json:"chain"` // from the path of the root
	Roots []rootJSON         `json:"roots"` // every root that keeps it
	More  int                `json:"more"`  // roots that are not listed
}

type livenessStepJSON struct {
	Path   storepath.Path `json:"path"`
	Needed string         `json:"needed"`
}

type rootJSON struct {
	Link string         `json:"link"`
	Path storepath.Path `json:"path"`
}

// maxRoots is the largest number of roots that are listed.
const maxRoots = 1000

// roots answers with the roots that keep a path.
func (h *Handler) roots(r *http.Request, paths []storepath.Path) (any, error) {
	liveness, err := store.ExplainLiveness(r.Context(), h.store, paths[0])
	if err != nil {
		return nil, err
	}
	roots, err := store.RootsOf(r.Context(), h.store, paths[0])
	if err != nil {
		return nil, err
	}
	return newLivenessJSON(liveness, roots), nil
}

func newLivenessJSON(l *store.Liveness, roots []store.Root) *livenessJSON {
	j := &livenessJSON{Chain: []livenessStepJSON{}, Roots: []rootJSON{}, More: max(0, len(roots)-maxRoots)}
	if l != nil {
		j.Root = &l.Root.Link
		for _, step := range l.Chain {
			j.Chain = append(j.Chain, livenessStepJSON{step.Path, step.Needed.String()})
		}
	}
	for _, root := range roots[:len(roots)-j.More] {
		j.Roots = append(j.Roots, rootJSON{root.Link, root.Path})
	}
	return j
}
