package view

import (
	"encoding/json"
	"net/http"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// path answers with the path info, in the form of 'nix path-info --json'.
func (h *Handler) path(r *http.Request, paths []storepath.Path) (any, error) {
	info, err := h.store.QueryPathInfo(r.Context(), paths[0])
	if err != nil {
		return nil, err
	}
	text, err := store.PathInfoJSON{Version: 1}.Marshal(info)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

// maxMentions is the largest number of files that are listed for a reference.
const maxMentions = 500

// A mentionsJSON lists the files of an object in which a reference stands.
type mentionsJSON struct {
	Mentions []mentionJSON `json:"mentions"`
	More     int           `json:"more"` // files that are not listed
}

type mentionJSON struct {
	File   string `json:"file"`   // begins with a slash
	Target string `json:"target"` // of a symlink, or ""
}

// mentions reads the archive of a path, and answers with the files that contain the reference to another one.
func (h *Handler) mentions(r *http.Request, paths []storepath.Path) (any, error) {
	j := mentionsJSON{Mentions: []mentionJSON{}}
	for m, err := range closure.Mentions(r.Context(), h.store, paths[0], paths[1]) {
		switch {
		case err != nil:
			return nil, err
		case len(j.Mentions) < maxMentions:
			j.Mentions = append(j.Mentions, mentionJSON{"/" + m.File, m.Target})
		default:
			j.More++
		}
	}
	return j, nil
}
