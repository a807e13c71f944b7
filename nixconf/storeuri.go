package nixconf

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pix/internal/redact"
)

// scheme matches the scheme at the start of a URL, with or without slashes.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*):(?://)?`)

// CanonicalStore returns the canonical form of a store URI, in which Nix compares and prints it: parameters are
// sorted, and a directory becomes a local:// URI with an absolute path.
//
//	auto                    auto
//	/DIR, ./DIR, DIR/DIR    local:///DIR
//	daemon?root=/DIR        unix://?root=/DIR
//	https://HOST?b=2&a=1    https://HOST?a=1&b=2
//
// The error does not contain the password of the URI.
func CanonicalStore(uri string) (string, error) {
	name, query, _ := strings.Cut(uri, "?")
	params, err := canonicalParams(query)
	if err != nil {
		return "", fmt.Errorf("Cannot parse Nix store '%s': %w", redact.URL(uri), err)
	}
	switch {
	case name == "" || name == "auto":
		name = "auto"
	case name == "daemon" && params != "":
		name = "unix://"
	case name == "local" && params != "":
		name = "local://"
	case name == "daemon" || name == "local":
	case strings.Contains(name, "://"):
		name = scheme.ReplaceAllStringFunc(name, strings.ToLower)
	case strings.Contains(name, "/"):
		abs, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		name = "local://" + (&url.URL{Path: abs}).EscapedPath()
	case scheme.MatchString(name):
		name = strings.Replace(name, ":", "://", 1)
	default:
		return "", fmt.Errorf("Cannot parse Nix store '%s'", redact.URL(uri))
	}
	return name + params, nil
}

// ParseParams parses the parameters of a store URI, the text after the question mark. If a parameter occurs
// twice, the first one counts. As in Nix, a word without an equal sign is ignored.
func ParseParams(query string) (map[string]string, error) {
	params := make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		key, err := url.PathUnescape(key) // not QueryUnescape, which would replace plus signs
		if err != nil {
			return nil, err
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, err
		}
		if _, exists := params[key]; !exists {
			params[key] = value
		}
	}
	return params, nil
}

// canonicalParams returns a question mark and the sorted parameters, or "".
func canonicalParams(query string) (string, error) {
	params, err := ParseParams(query)
	if err != nil {
		return "", err
	}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(params)) {
		pairs = append(pairs, escape(key)+"="+escape(params[key]))
	}
	if len(pairs) == 0 {
		return "", nil
	}
	return "?" + strings.Join(pairs, "&"), nil
}

// escape escapes a key or value of a parameter as Nix does.
func escape(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@/?"
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(plain, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func (s *Setting) stores(text string) (string, error) {
	list := words(text)
	for i, uri := range list {
		var err error
		if list[i], err = CanonicalStore(uri); err != nil {
			return "", err
		}
	}
	if s.Type == StoreURISet {
		return joinStores(list), nil
	}
	return strings.Join(list, " "), nil
}

// joinStores sorts and joins store URIs as Nix does: auto, then URLs, then daemon and local.
func joinStores(list []string) string {
	rank := map[string]int{"auto": -1, "daemon": 1, "local": 2}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(rank[a]-rank[b], strings.Compare(a, b))
	})
	return strings.Join(slices.Compact(list), " ")
}
