package cacheserver

import (
	"net/http"
	"strings"
)

// checkPreconditions evaluates If-Match and If-None-Match for a file with an entity tag. It reports whether it has answered
// the request, with the status 304. There is no Last-Modified, so dates are ignored.
//
// Source: RFC 9110, section 13.2.2.
func checkPreconditions(w http.ResponseWriter, r *http.Request, etag string) (done bool, err error) {
	if match := r.Header.Values("If-Match"); len(match) > 0 && !matchesETag(strings.Join(match, ","), etag, false) {
		return false, &statusError{http.StatusPreconditionFailed, "the file is another one"}
	}
	if match := r.Header.Values("If-None-Match"); len(match) > 0 && matchesETag(strings.Join(match, ","), etag, true) {
		w.WriteHeader(http.StatusNotModified)
		return true, nil
	}
	return false, nil
}

// matchesETag reports whether a list of entity tags contains etag, or is "*". With weak, a weak tag matches, too. A list
// with a syntax error ends there.
func matchesETag(list, etag string, weak bool) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		tag, isWeak := strings.CutPrefix(list, "W/")
		if !strings.HasPrefix(tag, `"`) {
			return false
		}
		end := strings.IndexByte(tag[1:], '"')
		if end < 0 {
			return false
		}
		if tag[:end+2] == etag && (weak || !isWeak) {
			return true
		}
		list = tag[end+2:]
	}
}
