// Package acceptencoding reads the header in which a client lists the codings that it accepts.
package acceptencoding

import (
	"net/http"
	"strconv"
	"strings"
)

// Has reports whether a client accepts responses with a Content-Encoding, such as "gzip".
func Has(header http.Header, coding string) bool {
	for _, line := range header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, parameter, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(name), coding) {
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
