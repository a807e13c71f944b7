package view

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/klauspost/compress/gzip"

	"pix/internal/acceptencoding"
	"pix/store"
)

// apiPolicy is the policy of responses that are no page: a browser that shows one runs and loads nothing.
const apiPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"

// A statusError is an error with the status of its response.
type statusError struct {
	status int
	reason string
}

func (e *statusError) Error() string { return e.reason }

var errNoPage = &statusError{http.StatusNotFound, "there is no such page"}

// writeError answers a request with an error, as a JSON object.
func writeError(w http.ResponseWriter, err error) {
	header := w.Header()
	header.Del("Content-Encoding")
	body, _ := json.Marshal(map[string]string{"error": err.Error()}) // a map of strings has a JSON form
	header.Set("Content-Type", jsonType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(statusOf(err))
	w.Write(body)
}

// statusOf returns the status of an error.
func statusOf(err error) int {
	known, ok := errors.AsType[*statusError](err)
	switch {
	case ok:
		return known.status
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, errors.ErrUnsupported):
		return http.StatusNotImplemented
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

const jsonType = "application/json"

// writeJSON answers a request with a value as JSON.
func writeJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := marshal(v)
	if err != nil {
		return err
	}
	return writeBody(w, r, jsonType, body)
}

// marshal returns a value as JSON. Package json escapes <, >, &, U+2028 and U+2029, so the text can stand in a page.
func marshal(v any) (*body, error) {
	text, err := json.Marshal(v)
	return &body{text: text}, err
}

// A body is the body of a response. It is compressed when a client first accepts that.
type body struct {
	text, compressed []byte
}

// minCompressed is the size from which on a body is compressed.
const minCompressed = 4 << 10

// compress compresses the body.
func (b *body) compress() error {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := z.Write(b.text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	b.compressed = out.Bytes()
	return nil
}

// writeBody answers a request.
func writeBody(w http.ResponseWriter, r *http.Request, mediaType string, b *body) error {
	text := b.text
	w.Header().Set("Content-Type", mediaType)
	if len(text) >= minCompressed {
		w.Header().Set("Vary", "Accept-Encoding")
		if acceptencoding.Has(r.Header, "gzip") {
			if b.compressed == nil {
				if err := b.compress(); err != nil {
					return err
				}
			}
			w.Header().Set("Content-Encoding", "gzip")
			text = b.compressed
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, err := w.Write(text)
	return err
}
