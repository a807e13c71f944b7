package cacheserver

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
)

// A content is a small file that is complete before it is sent.
type content struct {
	typ   string // the media type
	body  []byte
	etag  string // of the body
	cache string // the header Cache-Control
}

// newContent returns the content with this body. A client may keep it, but must ask before it uses it again.
func newContent(typ string, body []byte) content {
	return content{typ: typ, body: body, etag: etagOf(body), cache: "no-cache"}
}

// etagOf returns a strong entity tag for a body.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}

// serveContent answers a request for a small file.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, c content) error {
	header := w.Header()
	header.Set("Etag", c.etag)
	header.Set("Cache-Control", c.cache)
	if done, err := checkPreconditions(w, r, c.etag); done || err != nil {
		return err
	}
	header.Set("Content-Type", c.typ)
	header.Set("Content-Length", strconv.Itoa(len(c.body)))
	if r.Method != http.MethodHead {
		w.Write(c.body)
	}
	return nil
}
