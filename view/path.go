package view

import (
	"encoding/json"
	"fmt"
	"net/http"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// pathParameter returns the store path in a parameter of a request.
func (h *Handler) pathParameter(r *http.Request, name string) (storepath.Path, error) {
	path, err := h.store.Dir().Parse(r.URL.Query().Get(name))
	if err != nil {
		return "", &statusError{http.StatusBadRequest, fmt.Sprintf("the parameter %s: %v", name, err)}
	}
	return path, nil
}

// twoPaths returns the store paths in two parameters.
func (h *Handler) twoPaths(r *http.Request, first, second string) (a, b storepath.Path, err error) {
	if a, err = h.pathParameter(r, first); err == nil {
		b, err = h.pathParameter(r, second)
	}
	return a, b, err
}

// servePath answers with the path info, in the form of 'nix path-info --json'.
func (h *Handler) servePath(w http.ResponseWriter, r *http.Request) error {
	path, err := h.pathParameter(r, "path")
	if err != nil {
		return err
	}
	info, err := h.store.QueryPathInfo(r.Context(), path)
	if err != nil {
		return err
	}
	text, err := store.PathInfoJSON{Version: 1}.Marshal(info)
	if err != nil {
		return err
	}
	return writeJSON(w, r, json.RawMessage(text))
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

// serveMentions reads the archive of a path, and answers with the files that contain the reference to another one.
func (h *Handler) serveMentions(w http.ResponseWriter, r *http.Request) error {
	from, to, err := h.twoPaths(r, "from", "to")
	if err != nil {
		return err
	}
	end, err := h.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	found, err := closure.FindReferences(r.Context(), h.store, from, to)
	if err != nil {
		return err
	}
	j := mentionsJSON{Mentions: []mentionJSON{}, More: max(0, len(found)-maxMentions)}
	for _, m := range found[:len(found)-j.More] {
		j.Mentions = append(j.Mentions, mentionJSON{"/" + m.File, m.Target})
	}
	return writeJSON(w, r, j)
}
