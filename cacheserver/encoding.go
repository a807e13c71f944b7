package cacheserver

import (
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"pix/internal/acceptencoding"
)

// maxEncoded is the size in bytes below which an archive is compressed in transit. Such a response is compressed in memory
// before it is sent, so its size is known, and the archive is verified. Larger archives have a file with the compressed
// archive, so that a broken download of them can be resumed: a response with a Content-Encoding has no ranges.
const maxEncoded = 1 << 20

// encodes reports whether the response to a request is compressed in transit, and says in its header that this depends on
// the request.
func (h *Handler) encodes(w http.ResponseWriter, r *http.Request) bool {
	if !h.opts.Compress {
		return false
	}
	w.Header().Add("Vary", "Accept-Encoding")
	return acceptencoding.Has(r.Header, "zstd")
}

// encodedETag returns the entity tag of a file that is compressed in transit.
func encodedETag(etag string) string { return strings.TrimSuffix(etag, `"`) + `-zstd"` }

// smallEncoder compresses files in memory. It blocks while as many files are compressed as there are processors.
var smallEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(maxEncoded))
	if err != nil {
		panic(err) // the options are valid
	}
	return e
})

// encode returns the compressed body, and sets the header that says so.
func (h *Handler) encode(header http.Header, body []byte) []byte {
	header.Set("Content-Encoding", "zstd")
	return smallEncoder().EncodeAll(body, nil)
}
