package cacheserver

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
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
	return acceptsZstd(r.Header)
}

// acceptsZstd reports whether a client accepts responses with Content-Encoding: zstd.
func acceptsZstd(header http.Header) bool {
	for _, line := range header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(coding, ";")
			if !strings.EqualFold(strings.TrimSpace(name), "zstd") {
				continue
			}
			quality, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
			if !ok {
				return true
			}
			q, err := strconv.ParseFloat(quality, 64)
			return err == nil && q > 0
		}
	}
	return false
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
