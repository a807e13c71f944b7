package view

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"pix/store"
)

const (
	// pollBuilds is the time between two queries of the running builds.
	pollBuilds = time.Second
	// keepAlive is the time after which an unchanged list is sent again, so that a page notices a lost connection.
	keepAlive = 15 * time.Second
)

// A buildsJSON is a line of the stream of builds.
type buildsJSON struct {
	Now    int64           `json:"now"`    // in seconds since 1970, by the clock of this machine
	Builds json.RawMessage `json:"builds"` // a list as the protocol has it: see [store.ActiveBuild.MarshalJSON]
}

// serveBuilds answers with a stream of lines, each a JSON object with the running builds. A line is sent when the list
// changes. The page reads it with fetch, because an EventSource cannot send a bearer.
func (h *Handler) serveBuilds(w http.ResponseWriter, r *http.Request) error {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		return &statusError{http.StatusServiceUnavailable, "too many pages show the builds: close one of them, and load this one again"}
	}
	builds, err := store.QueryActiveBuilds(r.Context(), h.store)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	ticker := time.NewTicker(pollBuilds)
	defer ticker.Stop()
	var last []byte
	var sent time.Time
	for {
		list, err := json.Marshal(append([]store.ActiveBuild{}, builds...))
		if err != nil {
			panic(http.ErrAbortHandler) // the response has begun, so it can only be cut off
		}
		if now := time.Now(); !bytes.Equal(list, last) || now.Sub(sent) >= keepAlive {
			line, _ := json.Marshal(buildsJSON{Now: now.Unix(), Builds: list}) // the list is JSON already
			control.SetWriteDeadline(now.Add(writeTimeout))                    // a writer without deadlines is no connection
			if _, err := w.Write(append(line, '\n')); err != nil || control.Flush() != nil {
				return nil
			}
			last, sent = list, now
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return nil
		}
		if builds, err = store.QueryActiveBuilds(r.Context(), h.store); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}
