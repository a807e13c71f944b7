package cacheserver

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"

	"pix/store"
)

// A content is a file of the cache that is complete in memory before it is sent.
type content struct {
	typ   string // the media type
	etag  string // a strong entity tag
	cache string // the header Cache-Control

	// make returns the file. It is not called if the client has the file already.
	make func() ([]byte, error)
}

// newContent returns a content whose entity tag follows from the file.
func (h *Handler) newContent(typ string, body []byte) content {
	return content{
		typ: typ, etag: etagOf(body), cache: h.cacheControl(changeable),
		make: func() ([]byte, error) { return body, nil },
	}
}

// etagOf returns a strong entity tag for a file.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}

// A lifetime says how long a client or a proxy may use a file without asking again.
type lifetime string

const (
	changeable lifetime = "no-cache"                    // the path may be deleted, or get another signature
	immutable  lifetime = "max-age=31536000, immutable" // the URL has the hash of the file
)

// cacheControl returns the header Cache-Control of a file.
func (h *Handler) cacheControl(l lifetime) string {
	if h.isPrivate() {
		return "private, " + string(l)
	}
	return "public, " + string(l)
}

// serveLargeContent answers a request for a file in memory that may be large, and is made from a store. It holds the place of an
// archive while the file exists. Otherwise clients that do not read could fill the memory with files.
func (h *Handler) serveLargeContent(w *response, r *http.Request, c content, from store.Store) error {
	places, create := h.budgets.of(from).archives, c.make
	c.make = func() ([]byte, error) {
		if err := places.acquire(r.Context()); err != nil {
			return nil, err
		}
		w.place = places
		return create()
	}
	defer func() {
		if w.place != nil {
			places.release()
		}
	}()
	return h.serveContent(w, r, c)
}

// serveContent answers a request for a file in memory.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, c content) error {
	header := w.Header()
	encoded := h.encodes(w, r)
	if encoded {
		c.etag = encodedETag(c.etag)
	}
	header.Set("Etag", c.etag)
	header.Set("Cache-Control", c.cache)
	if done, err := checkPreconditions(w, r, c.etag); done || err != nil {
		return err
	}
	body, err := c.make()
	if err != nil {
		return err
	}
	if encoded {
		body = h.encode(header, body)
	}
	header.Set("Content-Type", c.typ)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
	return nil
}
