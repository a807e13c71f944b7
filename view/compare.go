package view

import (
	"net/http"

	"pix/closure"
	"pix/storepath"
)

// A diffJSON lists the differences of two closures. Its members with the same names as in the output of
// 'pix diff --json' are the same.
type diffJSON struct {
	Packages   []packageDiffJSON `json:"packages"`
	Added      int               `json:"pathsAdded"`
	Removed    int               `json:"pathsRemoved"`
	SizeBefore uint64            `json:"sizeBefore"`
	SizeAfter  uint64            `json:"sizeAfter"`
}

type packageDiffJSON struct {
	Name        string   `json:"name"`
	Before      []string `json:"before"`
	After       []string `json:"after"`
	Size        int64    `json:"sizeDelta"`
	PathsBefore int      `json:"pathsBefore"`
	PathsAfter  int      `json:"pathsAfter"`
	IsRebuild   bool     `json:"isRebuild"`
}

// compare answers with the differences of the closures of two paths, which need not be on the page.
func (h *Handler) compare(r *http.Request, paths []storepath.Path) (any, error) {
	before, after := paths[0], paths[1]
	both, err := closure.Load(r.Context(), h.store, before, after) // in one pass, because they usually share most paths
	if err != nil {
		return nil, err
	}
	return newDiffJSON(closure.Compare(both.Of(before), both.Of(after))), nil
}

func newDiffJSON(d *closure.Diff) *diffJSON {
	j := &diffJSON{Packages: []packageDiffJSON{}, Added: d.Added, Removed: d.Removed, SizeBefore: d.SizeBefore, SizeAfter: d.SizeAfter}
	for _, p := range d.Packages {
		j.Packages = append(j.Packages, packageDiffJSON{
			Name: p.Name, Before: append([]string{}, p.Before...), After: append([]string{}, p.After...),
			Size: p.SizeDelta, PathsBefore: p.PathsBefore, PathsAfter: p.PathsAfter, IsRebuild: p.IsRebuild(),
		})
	}
	return j
}
