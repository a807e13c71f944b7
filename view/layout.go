package view

import (
	"context"
	"net/http"
)

// A layoutJSON has the coordinates of all paths in the picture of the whole graph, in the order of /api/closure.
type layoutJSON struct {
	X []float64 `json:"x"`
	Y []float64 `json:"y"`
}

// serveLayout answers with the coordinates, which are computed at the first request.
func (h *Handler) serveLayout(w http.ResponseWriter, r *http.Request) error {
	b, err := h.contents.layoutBody(r.Context())
	if err != nil {
		return err
	}
	return writeBody(w, r, jsonType, b)
}

func (c *contents) layoutBody(ctx context.Context) (*body, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.layout.get(func() (any, error) {
		j, err := c.closureJSON(ctx)
		if err != nil {
			return nil, err
		}
		return newLayoutJSON(j), nil
	})
}

func newLayoutJSON(j *closureJSON) layoutJSON {
	x, y := layOut(j.First, j.References)
	return layoutJSON{rounded(x), rounded(y)}
}
